"""Packages that people's files import, and the extra of ours that installs them."""

from __future__ import annotations

EXTRAS = {
    "torch": "torch",
    "matplotlib": "demo",
    "sklearn": "demo",
    "peft": "models",
    "tokenizers": "models",
    "transformers": "models",
    "vyper": "chain",
    "web3": "chain",
}


def missing_extra(error: BaseException) -> str | None:
    """How to install what an import did not find, None if it is something else.

    Only a package that is missing itself counts: if a part of it is, it is there, and of another version.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name not in EXTRAS:
        return None
    return f"{error.name} is not installed: pip install 'tallystick[{EXTRAS[error.name]}]'"
