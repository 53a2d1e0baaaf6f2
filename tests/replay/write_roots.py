"""Write roots.json anew: python tests/replay/write_roots.py. Only when the meaning of a run was changed on purpose."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replay_models import JOBS


def main() -> None:
    pins = {}
    for name, make in JOBS.items():
        with tempfile.TemporaryDirectory() as folder:
            receipt = make().run(Path(folder) / "run").receipt
        pins[name] = {"start": receipt.manifest.start_root, "roots": list(receipt.roots)}
        sys.stdout.write(f"{name}: {receipt.roots[-1]}\n")
    (Path(__file__).parent / "roots.json").write_text(json.dumps(pins, indent=2) + "\n")


if __name__ == "__main__":
    main()
