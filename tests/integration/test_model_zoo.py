"""The models that people train, as they are: the curves of eager PyTorch, and the same bits from every implementation.

Dropout is off where curves are compared: a program draws with Philox, PyTorch with something else. That training with
dropout is captured and runs has tests of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from eager_training import train_eagerly
from lowered_operators import array_of, value_of
from tallystick.capture import capture_training
from tallystick.capture.inputs import Role
from tallystick.capture.training import trace_training
from tallystick.engine import Engine
from tallystick.ir.captured import Captured
from tallystick.spec.programs import run_step
from zoo.family import Family
from zoo.models import LOSSES, MODELS, PROMISED
from zoo.write_models import PAGE, STEPS, STEPS_OF_OTHERS, losses_on_engine, rows_of

RELATIVE = 1e-3
FAST, FAST_STEPS = ["Llama", "ResNet", "Mixtral", "LSTM", "MPT", "PatchTST"], 20
DROPPING = [name for name, family in MODELS.items() if family.drops]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def state_after(captured: Captured, steps: int, threads: int = 1) -> dict[str, np.ndarray]:
    with Engine(captured.program, threads=threads).start(captured.state, captured.constants) as session:
        session.advance(steps)
        return dict(zip(captured.state_names, session.state(), strict=True))


def compare(family: Family, steps: int) -> None:
    job = family.job(steps)
    ours = losses_on_engine(capture_training(**job), steps)
    theirs, _ = train_eagerly(**job)
    tail = max(4, steps // 10)
    assert theirs[-tail:].mean() < 0.99 * theirs[:tail].mean(), (
        "something is learnt, so that steps depend on each other"
    )
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE)


@pytest.mark.parametrize("name", FAST)
def test_curves_of_a_few(name: str) -> None:
    compare(MODELS[name], FAST_STEPS)


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_of_torch(name: str) -> None:
    compare(LOSSES[name], STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_curves(name: str) -> None:
    """A hundred steps, or thirty of the others: some mistakes show only after the fifteenth."""
    compare(MODELS[name], STEPS if name in PROMISED else STEPS_OF_OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", DROPPING)
def test_training_with_dropout(name: str) -> None:
    """Masks are drawn anew in every step, and what is trained with them learns."""
    family = MODELS[name]
    steps = 40
    plain = family.job(steps)
    dropped = plain | {"model": family.job(steps, dropout=0.2)["model"]}
    captured = capture_training(**dropped)
    losses = losses_on_engine(captured, steps)
    assert not np.allclose(losses[:3], losses_on_engine(capture_training(**plain), 3)), "nothing was dropped"
    assert np.isfinite(losses).all() and losses[-8:].mean() < losses[:8].mean()


def test_only_adapters_are_state_of_a_program_with_lora() -> None:
    """The base's weights are constants: nobody hashes or moves them from step to step."""
    family = MODELS["Llama with LoRA"]
    traced = trace_training(**family.job(3, layers=1))
    held = {role: {made.name for made in traced.inputs if made.role is role} for role in Role}
    parameters = dict(family.job(3, layers=1)["model"].named_parameters())
    trained = {name for name, p in parameters.items() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    model_state = {name.removeprefix("model.") for name in held[Role.STATE] if name.startswith("model.")}
    assert model_state == trained
    others = held[Role.STATE] - {f"model.{name}" for name in trained} - {"record.loss"}
    assert others == {f"optimizer.{slot}.{name}" for slot in ("exp_avg", "exp_avg_sq") for name in trained}
    assert {f"model.{name}" for name in parameters if name not in trained} <= held[Role.CONSTANT]


def tiny(name: str, steps: int = 1) -> dict[str, Any]:
    """A job that the spec interpreter can run: one layer, eight wide, one row of four tokens or one image."""
    family = MODELS[name]
    job = family.job(steps, width=8, layers=1)
    data = {key: rows[:4, :4] if rows.ndim == 2 else rows[:4] for key, rows in job["data"].items()}
    return job | {"data": data, "batch_size": 1}


def spec_step(captured: Captured, job: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state after the first step, as the definition of a program computes it."""
    made = [i for i in trace_training(**job).inputs if i.role is not Role.STEP]
    values = {i.name: value_of(i) for i in made}
    after = run_step(
        captured.program,
        [values[name] for name in captured.state_names],
        [values[name] for name in captured.constant_names],
        0,
    )
    numbers = zip(captured.state_names, captured.program.next_state, strict=True)
    return {name: array_of(after[number]) for name, number in numbers}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama", "Mixtral", "BERT", "LSTM", "U-Net"])
def test_the_engine_computes_what_the_specification_says(name: str) -> None:
    job = tiny(name)
    captured = capture_training(**job)
    ours, defined = state_after(captured, 1), spec_step(captured, job)
    for slot in captured.state_names:
        assert ours[slot].tobytes() == defined[slot].tobytes(), f"{slot} differs"


@pytest.mark.parametrize("name", ["Mixtral", "ResNet"])
def test_the_same_bits_for_one_thread_and_two(name: str) -> None:
    captured = capture_training(**MODELS[name].job(10))
    one, two = state_after(captured, 10), state_after(captured, 10, threads=2)
    for slot in captured.state_names:
        assert one[slot].tobytes() == two[slot].tobytes(), f"{slot} differs"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama", "BERT", "Mamba", "T5", "U-Net"])
def test_the_same_bits_for_one_thread_and_two_in_others(name: str) -> None:
    test_the_same_bits_for_one_thread_and_two(name)


def test_the_page_and_the_zoo_name_the_same_models() -> None:
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    assert list(rows) == [*MODELS, *LOSSES], "run python tests/zoo/write_models.py"
    for name in [*PROMISED, *LOSSES]:
        cells = [cell.strip() for cell in rows[name].split("|")]
        assert int(cells[4]) >= 100 and float(cells[5]) <= RELATIVE, rows[name]
