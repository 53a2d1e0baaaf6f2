"""What the README and the documentation tell a reader to type is typed here."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.story import ROOT, TIMEOUT_S, User

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("tally", "python", "cp")
COMMAND_TIMEOUT_S = 1800  # a chat model is fine-tuned beside whatever else is tested
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


def blocks(language: str) -> Iterator[Block]:
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if found[1] == language:
                yield Block(page, language, found[2])


def commands() -> list[tuple[Path, str]]:
    """Every line that starts with ``$ ``. A comment may say ``exit code 1`` where that is what a reader sees."""
    lines = ((block.page, line) for block in blocks("console") for line in block.text.splitlines())
    return [(page, line[2:]) for page, line in lines if line.startswith("$ ")]


def program(command: str) -> str:
    return command.split()[0]


def test_pages_have_commands() -> None:
    """The patterns above find what they look for."""
    found = [command for _, command in commands()]
    assert any(command.startswith("make demo") for command in found)
    assert any(command.startswith("tally verify") for command in found)
    assert any(page.name == "README.md" for page, _ in commands())


@pytest.mark.parametrize("command", sorted({command for _, command in commands() if program(command) == "make"}))
def test_make_targets_exist(command: str) -> None:
    done = subprocess.run([*shlex.split(command, comments=True), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_line_is_one_we_know() -> None:
    """So that nothing in the documentation stays untested: these are run below, or their targets are checked above."""
    unknown = {command for _, command in commands() if program(command) not in (*RUN, "make", "source")}
    assert unknown == set()


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, _ in commands()}), ids=lambda page: page.stem)
def test_commands_of_a_page_work_in_order(page: Path, tmp_path: Path, user: User) -> None:
    """A reader's folder: the examples, what the page's own Python blocks define, and the page's commands in order."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block.text)
        if block.page == page and name:
            (tmp_path / name[1]).write_text(block.text)
    environment = {**user.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    listed = [command for at, command in commands() if at == page and program(command) in RUN]
    for command in listed:
        if "runs/digits" in command and not command.startswith("tally run") and not (tmp_path / "runs/digits").exists():
            first = shlex.split("tally run examples/digits.py:job --out runs/digits")
            subprocess.run(first, cwd=tmp_path, env=environment, check=True, timeout=TIMEOUT_S)
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        expected = re.search(r"# exit code (\d+)", command)
        assert done.returncode == (int(expected[1]) if expected else 0), f"{command}\n{done.stdout}\n{done.stderr}"
    for root in re.findall(r"^final root +(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        receipt = json.loads((tmp_path / "runs/digits/receipt.json").read_text())
        assert receipt["roots"][-1] == root, "the page shows another root than its reader gets"


def test_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: User) -> None:
    (block,) = [block for block in blocks("python") if block.page.name == "README.md"]
    (tmp_path / "readme.py").write_text(block.text)
    done = subprocess.run(
        [sys.executable, "-W", "error", "readme.py"],
        cwd=tmp_path,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mine" / "receipt.json").exists()


def test_python_of_all_pages_parses() -> None:
    for block in blocks("python"):
        ast.parse(block.text, str(block.page))


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
