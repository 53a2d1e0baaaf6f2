"""Simulated disputes about a tiny job: who wins, what is said, and what cannot be simulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from job_helpers import SOURCES, STATE_NAMES, tiny_job
from tallystick.dispute import LocalArena, Turn
from tallystick.errors import IntegrityError, JobError, UsageError
from tallystick.job.narration import told
from tallystick.job.simulation import Simulation, simulate
from tallystick.job.stretch import Stretch, segment_of, whole_job
from tallystick.job.verdict import first_differing
from tallystick.spec.board import Side
from tallystick.spec.referee import Terms

TERMS = Terms(fanout=4, defender_bond=1000, challenger_bond=100, winner_share=2500)


def play(stretch: Stretch, fault: str = "weight-ulp", role: str = "worker", at: int | None = None) -> Simulation:
    return simulate(
        stretch, LocalArena(TERMS), fault=fault, at=at, role="worker" if role == "worker" else "challenger", threads=1
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    tiny_job().run(folder, threads=1, keep_states="all")
    return folder


def test_a_worker_with_one_wrong_weight_is_convicted() -> None:
    done = play(whole_job(tiny_job()), at=20)
    assert done.liar_lost
    assert done.verdict.winner is Side.CHALLENGER
    assert (done.verdict.step, done.verdict.kernel, done.verdict.source) == (20, 2, SOURCES[2])
    assert done.verdict.scalar_step == "stored word"
    assert done.verdict.slot == "model.weight"
    assert done.verdict.claimed is not None and done.verdict.executed is not None
    assert int(done.verdict.claimed, 16) ^ int(done.verdict.executed, 16) == 1
    assert f"step 20, kernel 2 ({SOURCES[2]}), model.weight, element" in done.verdict.text
    assert (done.worker_owed, done.challenger_owed) == (0, 100 + 250)
    assert (done.claim.first_step, done.claim.steps) == (0, 50)


def test_a_challenger_of_a_true_claim_loses_the_bond() -> None:
    done = play(whole_job(tiny_job()), role="challenger")
    assert done.liar_lost
    assert done.verdict.winner is Side.DEFENDER
    assert done.verdict.claimed == done.verdict.executed
    assert (done.worker_owed, done.challenger_owed) == (25, 0)


@pytest.mark.parametrize("fault", ["skipped-step", "zero-state", "wrong-dims", "wrong-data-row", "fold-step"])
@pytest.mark.parametrize("role", ["worker", "challenger"])
def test_verdicts_name_what_went_wrong(fault: str, role: str) -> None:
    done = play(whole_job(tiny_job()), fault, role, at=7)
    assert done.liar_lost
    assert done.verdict.step == 7
    if fault == "wrong-data-row":
        assert done.verdict.slot == "data.x" or done.verdict.text.startswith("step 7: the challenger could not")
    if fault in ("skipped-step", "zero-state"):
        assert done.verdict.slot in STATE_NAMES
    if fault == "fold-step" and role == "worker":
        assert (done.verdict.kernel, done.verdict.scalar_step) == (0, "fold step 2")
    if fault == "wrong-dims" and role == "worker":
        assert "the defender could not answer" in done.verdict.text


def test_a_claim_ends_with_the_fault_if_its_traces_vanish() -> None:
    """A commitment to other dimensions is false, but the numbers in it are right: later states are true again."""
    done = play(whole_job(tiny_job()), "wrong-dims", at=7)
    assert done.claim.steps == 8


def test_a_segment_of_a_run_is_disputed_from_its_stored_state(folder: Path) -> None:
    stretch = segment_of(folder, 20)
    assert (stretch.first_step, stretch.steps) == (16, 8)
    done = play(stretch, at=20)
    assert done.liar_lost
    assert (done.at, done.verdict.step) == (20, 20)
    assert (done.claim.first_step, done.claim.steps) == (16, 8)
    whole = play(whole_job(tiny_job()), at=20)
    assert (done.verdict.claimed, done.verdict.executed) == (whole.verdict.claimed, whole.verdict.executed)


def test_a_segment_whose_start_was_not_kept_is_refused(folder: Path, tmp_path: Path) -> None:
    tiny_job().run(tmp_path / "run", threads=1, keep_states=2)
    with pytest.raises(IntegrityError, match="choose a step in another segment"):
        segment_of(tmp_path / "run", 20)


@pytest.mark.parametrize("step", [-1, 50])
def test_steps_that_a_run_does_not_have_are_refused(folder: Path, step: int) -> None:
    with pytest.raises(JobError, match="give 0 to 49"):
        segment_of(folder, step)
    with pytest.raises(JobError, match="give 0 to 49"):
        play(whole_job(tiny_job()), at=step)


def test_faults_that_cannot_happen_say_so() -> None:
    with pytest.raises(UsageError, match=r"there is no fault 'lazy'; there are .*weight-ulp"):
        play(whole_job(tiny_job()), "lazy")
    with pytest.raises(UsageError, match="no constant named schedule"):
        play(whole_job(tiny_job()), "learning-rate")
    with pytest.raises(UsageError, match="none to swap it with"):
        play(whole_job(tiny_job()), "swapped-steps", at=49)


def test_the_words_named_are_the_first_that_differ() -> None:
    assert first_differing([1, 2, 3, 4], [1, 2, 5, 6]) == (3, 5)
    assert first_differing([7, 8], [7, 8]) == (7, 7)


def test_a_game_is_told_move_by_move() -> None:
    turns: list[Turn] = []
    simulate(whole_job(tiny_job()), LocalArena(TERMS), fault="fold-step", at=7, threads=1, watch=turns.append)
    story = [f"{turn.side.name.lower()} {told(turn, 100)}" for turn in turns]
    assert story[0] == "defender reveals state roots inside steps 100 to 149"
    assert any(line == "challenger says the first wrong one lies in step 107" for line in story)
    assert any(line.startswith("defender reveals the trace root of step 107 and 4 nodes") for line in story)
    assert any("reveals which kernel made value 8" in line for line in story)
    assert story[-1].startswith("challenger opens the words of scalar step")
