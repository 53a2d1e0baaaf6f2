"""Every Python file of the package has one noun and fits under 400 lines; every function fits a screen.

python tools/check_file_sizes.py [folder ...]       exit status 1 and one line per offender
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 80
ROOT = Path(__file__).resolve().parent.parent


def offenders(folder: Path) -> Iterator[str]:
    """One sentence per file or function that is too long."""
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > FILE_LINES:
            yield f"{path}: {lines} lines, more than {FILE_LINES}; split it by noun"
        for node in ast.walk(ast.parse(text, str(path))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, more than {FUNCTION_LINES}; split it"


def main() -> None:
    folders = [Path(argument) for argument in sys.argv[1:]] or [ROOT / "src"]
    found = [line for folder in folders for line in offenders(folder)]
    for line in found:
        print(line)
    print(f"file sizes: {len(found)} too long" if found else "file sizes: ok")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
