"""Write down what every contract offers, after a change that is meant:

python tests/architecture/write_contract_surface.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tallystick.chain.artifact import Artifact
from tallystick.chain.compiler import compile_contract, contract_names

SURFACE = Path(__file__).parent / "contract_surface.json"


def surface(artifact: Artifact) -> dict[str, Any]:
    """A contract's code hash, and a line for each function and event, in the words of the source."""
    return {"code_hash": artifact.code_hash, "abi": sorted(map(line, artifact.abi))}


def line(entry: dict[str, Any]) -> str:
    inputs = ", ".join(parameter(each) for each in entry["inputs"])
    text = f"{entry['type']} {entry.get('name', '')}({inputs})"
    if entry["type"] == "event":
        return text
    outputs = ", ".join(parameter(each) for each in entry["outputs"])
    return f"{text} {entry['stateMutability']} -> ({outputs})"


def parameter(entry: dict[str, Any]) -> str:
    kind = entry["type"]
    if kind.startswith("tuple"):
        fields = ", ".join(parameter(each) for each in entry["components"])
        kind = f"({fields})" + kind.removeprefix("tuple")
    return " ".join(filter(None, [kind, "indexed" if entry.get("indexed") else "", entry.get("name", "")]))


def main() -> None:
    found = {name: surface(compile_contract(name)) for name in contract_names()}
    SURFACE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
