"""Hooks of the documentation build: the decisions are listed from the files, so that a new one is never forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def title(page: Path) -> str:
    """The first heading of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return next(line[2:] for line in lines if line.startswith("# "))


def on_config(config: Any) -> Any:
    """Append the section of decisions to the navigation."""
    docs = Path(config["docs_dir"])
    pages = sorted((docs / "adr").glob("[0-9]*.md"))
    config["nav"].append({"Decisions": [{title(page): str(page.relative_to(docs))} for page in pages]})
    return config
