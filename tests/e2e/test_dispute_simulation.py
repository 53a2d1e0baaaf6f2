"""Somebody wants to see what happens to a liar."""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs
import pytest

from e2e.story import JOBS, Colleague, User


@pytest.fixture(scope="module")
def contracts(user: User) -> None:
    """The contracts that other tests have compiled: it takes a quarter of a minute."""
    compiled = platformdirs.user_cache_path("tallystick") / "contracts"
    if compiled.is_dir():
        shutil.copytree(compiled, user.home / "cache" / "tallystick" / "contracts", dirs_exist_ok=True)


@pytest.mark.usefixtures("contracts")
def test_a_liar_is_convicted_on_a_chain(user: User, trained: Path) -> None:
    said = user.tally("dispute", "simulate", trained, "--at", 13, "--seed", 1).stdout
    assert "reveals state roots inside steps 12 to 15" in said
    assert "the referee executes it" in said
    assert "step 13, kernel" in said
    assert "the worker is convicted" in said
    assert "posted 100 tokens, may withdraw 0 tokens" in said
    assert "posted 10 tokens, may withdraw 60 tokens" in said


@pytest.mark.usefixtures("contracts")
def test_a_false_challenge_is_defeated_on_a_chain(user: User) -> None:
    done = user.tally_json("dispute", "simulate", f"{JOBS}:small", "--role", "challenger")
    assert done["ok"]
    assert done["verdict"]["winner"] == "defender"
    assert done["gas"] == sum(move["gas"] for move in done["moves"]) > 0
    assert done["bonds"] == {
        "worker": {"posted": str(100 * 10**18), "owed": str(5 * 10**18)},
        "challenger": {"posted": str(10 * 10**18), "owed": "0"},
    }


def test_without_a_chain_the_game_is_the_same(colleague: Colleague, trained: Path) -> None:
    document = colleague.tally_json(
        "dispute", "simulate", trained, "--at", 13, "--chain", "none", "--fault", "fold-step"
    )
    assert document["ok"]
    assert document["gas"] == 0
    assert document["verdict"]["scalar_step"].startswith("fold step")
    assert document["verdict"]["claimed"] != document["verdict"]["executed"]
    assert document["claim"]["first_step"] == 12


def test_faults_are_listed(colleague: Colleague) -> None:
    faults = colleague.tally_json("dispute", "faults")["faults"]
    assert len(faults) >= 17
    assert all(what.endswith(".") for what in faults.values())
    assert "weight-ulp" in colleague.tally("dispute", "faults").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fault", "laziness"], "there is no fault 'laziness'; there are different-program"),
        (["--at", "24"], "is not one of this run's 24: give 0 to 23"),
        (["--at", "-1"], "--at"),
        (["--role", "judge"], "Give worker or challenger"),
        (["--chain", "mainnet"], "give embedded, none, or the URL"),
        (["--chain", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (["--fault", "swapped-steps", "--at", "15", "--chain", "none"], "none to swap it with"),
    ],
)
def test_misuse_is_told_in_a_sentence(colleague: Colleague, trained: Path, words: list[str], says: str) -> None:
    done = colleague.tally("dispute", "simulate", trained, *words, expect=2)
    assert says in " ".join(done.stderr.split())
    assert done.stdout == ""
