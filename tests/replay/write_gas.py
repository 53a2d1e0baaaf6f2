"""Write gas.json anew: python tests/replay/write_gas.py [section ...]. Read the difference before it is committed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gas.figures import FAST, SLOW

SNAPSHOT = Path(__file__).parent / "gas.json"


def main() -> None:
    sections = {**FAST, **SLOW}
    wanted = sys.argv[1:] or list(sections)
    if unknown := set(wanted) - set(sections):
        sys.exit(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    before = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    after = {name: sections[name]() if name in wanted else before[name] for name in sections}
    SNAPSHOT.write_text(json.dumps(after, indent=2) + "\n")
    for name, figures in after.items():
        for what, figure in figures.items():
            old = before.get(name, {}).get(what)
            if figure != old:
                sys.stdout.write(f"{name}, {what}: {'new' if old is None else f'{old:,}'} -> {figure:,}\n")


if __name__ == "__main__":
    main()
