"""Liars of every kind in the training of real models: a convolutional network and a GPT, each with its optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tallystick as ts
from disputes.stage import CHALLENGER, WORKER, Dispute, Stage, captured_stage, lie, quick_terms
from tallystick.dispute import LocalArena
from tallystick.dispute.faults import FAULTS
from tallystick.errors import UsageError
from tallystick.spec.board import Phase

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
AT, STEPS = 12, 24
QUICK = ("weight-ulp", "fold-step", "learning-rate", "skipped-step", "wrong-data-row")
CANNOT_HAPPEN = {"flushed-subnormal"}
"""What these trainings offer no place for so early: the program that does everything has one for each fault."""


@pytest.fixture(scope="module", params=["digits", "gpt"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """The digits job as it is; a GPT like the example's, but smaller."""
    return digits() if request.param == "digits" else small_gpt()


@pytest.fixture(autouse=True, scope="module")
def examples() -> Iterator[None]:
    """The examples can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield


@cache
def digits() -> Stage:
    import digits

    return captured_stage(digits.job().capture())


def small_gpt() -> Stage:
    import torch

    import gpt

    torch.manual_seed(0)
    captured = ts.capture_training(
        model=gpt.GPT(width=32, heads=2, layers=2, context=32),
        loss=gpt.loss,
        optimizer=ts.optim.AdamW(lr=3e-3, weight_decay=0.1, schedule=ts.optim.warmup_cosine(STEPS, warmup=4)),
        data={"text": gpt.windows(gpt.encode("the tally stick was split in two halves. " * 200), context=32)},
        batch_size=8,
        steps=STEPS,
        seed=0,
    )
    return captured_stage(captured)


@cache
def whole_gpt() -> Stage:
    import gpt

    return captured_stage(gpt.job().capture())


def told(stage: Stage, fault: str, role: str, seed: int = 1, at: int = AT, steps: int = STEPS) -> Dispute:
    false = FAULTS[fault](stage.scene(at, steps, seed))
    return lie(stage, false, at, role, steps, LocalArena(quick_terms()))


@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("fault", QUICK)
def test_liars_lose(stage: Stage, fault: str, role: str) -> None:
    told(stage, fault, role).check_verdict()


@pytest.mark.slow
@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_liar_loses(stage: Stage, fault: str, role: str) -> None:
    if fault in CANNOT_HAPPEN:
        with pytest.raises(UsageError, match="subnormal"):
            told(stage, fault, role)
        return
    for seed, at in ((1, AT), (2, 0), (3, STEPS - 2)):
        told(stage, fault, role, seed, at).check_verdict()


@pytest.mark.slow
@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("fault", ["weight-ulp", "stale-moment", "fold-step"])
def test_a_lie_in_the_middle_of_the_whole_digits_job(fault: str, role: str) -> None:
    """600 steps; the claim is about all of them."""
    played = told(digits(), fault, role, at=300, steps=600)
    played.check_verdict()
    assert played.last.before.phase is Phase.EXECUTE and played.last.before.step == 300


@pytest.mark.slow
@pytest.mark.parametrize("role", [WORKER, CHALLENGER])
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - CANNOT_HAPPEN))
def test_the_whole_gpt(fault: str, role: str) -> None:
    """The example's GPT with its million weights, as it is, for a few steps."""
    told(whole_gpt(), fault, role, at=1, steps=4).check_verdict()
