"""The command line is an interface: names, options and exit codes change on purpose or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from tallystick.cli import exits
from tallystick.cli.app import app

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"

SURFACE = {
    "tally": ["--help", "--version", "-h"],
    "tally run": [
        *("--continue-from", "--help", "--json", "--keep-states", "--on-nan", "--out", "--restart", "--resume-stored"),
        *("--threads", "-h", "-j", "-o", "JOB"),
    ],
    "tally verify": ["--full", "--help", "--json", "--sample", "--threads", "-h", "-j", "RECEIPT"],
    "tally inspect": ["--bodies", "--help", "--json", "-h", "WHAT"],
    "tally profile": ["--help", "--json", "--sort", "--steps", "--threads", "--top", "-h", "-j", "WHAT"],
    "tally predict": ["--help", "--job", "--json", "-h", "FOLDER", "FUNCTION", "ARGUMENTS"],
    "tally dispute": ["--help", "-h"],
    "tally dispute simulate": [
        *("--at", "--chain", "--fault", "--help", "--json", "--role", "--seed", "--threads", "-f", "-h", "-j"),
        "WHAT",
    ],
    "tally dispute faults": ["--help", "--json", "-h"],
    "tally key": ["--help", "-h"],
    "tally key show": ["--help", "--json", "-h"],
}


def surface() -> dict[str, list[str]]:
    """Every command with the words it understands."""
    found: dict[str, list[str]] = {}
    waiting = [("tally", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        words = [word for parameter in command.params for word in parameter.opts if word.startswith("-")]
        words += ["--help", "-h"]
        arguments = [parameter.name.upper() for parameter in command.params if parameter.param_type_name == "argument"]
        found[name] = sorted(words) + arguments
        waiting += [(f"{name} {child}", made) for child, made in getattr(command, "commands", {}).items()]
    return found


def test_commands_and_options_are_the_agreed_ones() -> None:
    assert surface() == SURFACE


def test_exit_codes_are_the_agreed_ones() -> None:
    codes = {name: value for name, value in vars(exits).items() if name.isupper()}
    assert codes == {"DONE": 0, "NOT_VERIFIED": 1, "NOT_DONE": 2, "BUG": 3, "INTERRUPTED": 130, "NO_READER": 141}


@pytest.mark.parametrize("command", SURFACE)
def test_reference_page_names_every_command_and_option(command: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"`{command}" in text
    for word in SURFACE[command]:
        assert word.isupper() or word in ("-h", "--help") or f"`{word}" in text, f"{DOCS} does not explain {word}"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["verify", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Starting up is what a user waits for; torch alone takes seconds."""
    program = (
        "import sys; sys.argv = ['tally', *sys.argv[1:]]\n"
        "from tallystick.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'llvmlite', 'safetensors', 'eth_account'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
