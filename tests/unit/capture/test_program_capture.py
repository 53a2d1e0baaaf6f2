"""Any stateful step as a program: what it computes, what becomes state, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tallystick as ts
from captured_runs import final
from tallystick.capture.tracing.random import philox_words
from tallystick.errors import CaptureError

State = dict[str, Tensor]
X = np.arange(4, dtype=np.float32)


def test_state_may_be_changed_in_place_and_read_by_the_step_number() -> None:
    def step(state: State, constants: State, step: Tensor) -> State:
        state["seen"][step] = constants["x"][step] * 2.0
        return {"seen": state["seen"], "count": state["count"] + 1, "name": state["name"]}

    start = {"seen": np.zeros(4, np.float32), "count": torch.tensor(0), "name": np.array([7, 8])}
    captured = ts.capture_program(step, state=start, constants={"x": X}, steps=4)
    assert captured.state_names == ["seen", "count", "name"]  # what a step leaves alone stays state
    after = final(captured, 3)
    assert after["seen"].tolist() == [0.0, 2.0, 4.0, 0.0]
    assert (after["count"], after["name"].tolist()) == (3, [7, 8])
    assert start["seen"].tolist() == [0.0] * 4


def test_a_loop_of_ones_own_may_ask_for_gradients() -> None:
    """Gradient descent on two parts of the state in turn, as a GAN does."""

    def step(state: State) -> State:
        a, b = (state[name].requires_grad_() for name in "ab")
        loss = ((a * b - 3.0) ** 2).sum()
        grad_a, grad_b = torch.autograd.grad(loss, (a, b))
        return {"a": a - 0.1 * grad_a, "b": b + 0.01 * grad_b}

    after = final(ts.capture_program(step, state={"a": X[1:2], "b": X[2:3]}), 2)
    a, b = torch.tensor([1.0]), torch.tensor([2.0])
    for _ in range(2):
        made = step({"a": a.clone(), "b": b.clone()})
        a, b = made["a"].detach(), made["b"].detach()
    np.testing.assert_allclose([after["a"][0], after["b"][0]], [a.item(), b.item()], rtol=1e-6)


def test_buffers_that_a_step_changes_are_state_and_weights_are_constants() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

    def step(state: State, model: nn.Module) -> State:
        return {"x": state["x"], "y": model(state["x"])}

    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    captured = ts.capture_program(step, state={"x": x, "y": np.zeros((5, 2), np.float32)}, model=model)
    assert [name for name in captured.state_names if name.startswith("model.")] == [
        "model.1.running_mean",
        "model.1.running_var",
        "model.1.num_batches_tracked",
    ]
    assert "model.0.weight" in captured.constant_names
    after = final(captured, 2)
    assert after["model.1.num_batches_tracked"] == 2
    assert model[1].num_batches_tracked == 0
    np.testing.assert_allclose(after["y"], model(torch.from_numpy(x)).detach(), atol=1e-6)


def test_draws_depend_on_seed_and_step() -> None:
    def step(state: State) -> State:
        return {"u": torch.rand(3), "before": state["u"]}

    zeros = np.zeros(3, np.float32)
    after = final(ts.capture_program(step, state={"u": zeros, "before": zeros}, seed=9), 2)
    for name, number in (("before", 0), ("u", 1)):
        words = philox_words(9, 0, 1, number)[0, :3]
        assert (after[name] == (words >> 8).astype(np.float32) * np.float32(2.0**-24)).all()


def change_a_constant(state: State, constants: State) -> State:
    constants["c"] += 1.0
    return state


# Not written where the cases are: a message quotes the line it is about.
DECIDED_BY_DATA = r"test_program_capture\.py:\d+ .*\n  takes a number out of a tensor"

REFUSED: list[tuple[Callable[..., Any], str]] = [
    (change_a_constant, "changes the constant 'c' in place"),
    (lambda state: {}, "did not return 'x'"),
    (lambda state: {**state, "y": state["x"]}, "returned 'y', which is no state: there is 'x'"),
    (lambda state: [state["x"]], "must return a dict"),
    (lambda state: {"x": 1.0}, "returned a float for 'x'"),
    (lambda state: {"x": state["x"][:2]}, r"shape of 'x' from \(4,\) to \(2,\)"),
    (lambda state: {"x": state["x"].long()}, "dtype of 'x' from torch.float32 to torch.int64"),
    (lambda state: {"x": state["x"] + float(state["x"].sum())}, DECIDED_BY_DATA),
    (lambda state: {"x": state["x"] + (1 if state["x"].sum() > 0 else 2)}, DECIDED_BY_DATA),
    (lambda state, rows: state, "has an argument 'rows'"),
    (lambda constants: {}, "has no argument 'state'"),
    (lambda state, model: state, "no model is given"),
]


@pytest.mark.parametrize(("step", "message"), REFUSED)
def test_steps_that_cannot_be_captured(step: Callable[..., Any], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        ts.capture_program(step, state={"x": X}, constants={"c": X})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": {}}, "there is no state"),
        ({"state": {"x": [1.0]}}, "'x' is a list"),
        ({"state": {"x": X}, "constants": {"x": X}}, "both state and a constant"),
        ({"state": {"model.x": X}}, "programs use themselves"),
        ({"state": {"x": X}, "seed": -1}, "seed"),
        ({"state": {"x": X.astype(np.float64)}}, "float64"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        ts.capture_program(lambda state: state, **arguments)
