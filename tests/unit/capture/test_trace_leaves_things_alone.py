"""Capturing changes nothing: not the model, not PyTorch's state; and it yields the same every time."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import GraphRunner
from sample_models import ConvolutionalNetwork, classify, images
from tallystick.capture.inputs import Role
from tallystick.capture.optimizers.adam import SGD, AdamW
from tallystick.capture.tracing.trace import Trace
from tallystick.capture.training import trace_training


def trace_of(model: nn.Module, **changes: object) -> Trace:
    job = {"loss": classify, "optimizer": SGD(0.1), "data": images(), "batch_size": 4, "steps": 5} | changes
    return trace_training(model=model, **job)  # type: ignore[arg-type]  # a mixed dictionary of keywords


def names(trace: Trace, role: Role) -> list[str]:
    return [made.name for made in trace.inputs if made.role is role]


def test_the_model_and_the_world_stay_as_they_were() -> None:
    class Dropping(ConvolutionalNetwork):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x), 0.5)

    model = Dropping()
    model.eval()
    model.norm1.train()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    identities = [id(p) for p in (*model.parameters(), *model.buffers())]
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    trace_of(model)
    assert torch.equal(torch.rand(3), expected), "the random numbers drawn next are the same"
    assert [m.training for m in model.modules()] == modes
    assert [id(p) for p in (*model.parameters(), *model.buffers())] == identities
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32


def test_gradients_are_traced_even_where_they_are_switched_off() -> None:
    with torch.no_grad():
        trace = trace_of(ConvolutionalNetwork())
        assert not torch.is_grad_enabled()
    assert "model.conv1.weight" in names(trace, Role.STATE)


def test_the_world_stays_as_it_was_after_an_error() -> None:
    model = ConvolutionalNetwork().eval()
    with pytest.raises(ValueError):
        trace_of(model, loss=lambda model, x, y: model(x))
    assert not model.training and all(p.dim() for p in model.parameters())
    model(torch.zeros(1, 1, 8, 8))


def test_evaluation_mode_of_a_part_is_kept() -> None:
    model = ConvolutionalNetwork()
    model.norm2.eval()
    trace = trace_of(model)
    assert "model.norm1.running_mean" in names(trace, Role.STATE)
    assert "model.norm2.running_mean" in names(trace, Role.CONSTANT)


def test_frozen_parameters_are_constants_and_unused_ones_stay() -> None:
    model = ConvolutionalNetwork()
    model.conv1.requires_grad_(False)
    model.register_parameter("spare", nn.Parameter(torch.ones(2)))
    trace = trace_of(model, optimizer=AdamW())
    state, constants = names(trace, Role.STATE), names(trace, Role.CONSTANT)
    assert "model.conv1.weight" in constants and "optimizer.exp_avg.conv1.weight" not in state
    assert "model.spare" in constants and not any("spare" in name for name in state)
    assert {f"model.{name}" for name in model.state_dict()} <= {*state, *constants}


def test_tied_weights_are_one_slot() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    torch.manual_seed(0)
    model = Tied()
    data = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    trace = trace_of(model, loss=lambda model, x: model(x).square().sum(), data=data, batch_size=2)
    assert [name for name in names(trace, Role.STATE) if name.startswith("model.")] == ["model.first.weight"]
    runner = GraphRunner(trace)
    runner.advance(1)
    value = model(torch.from_numpy(data["x"])).square().sum()
    value.backward()
    assert model.first.weight.grad is not None
    expected = model.first.weight - 0.1 * model.first.weight.grad
    torch.testing.assert_close(runner.values["model.first.weight"], expected.detach())


def test_buffers_may_be_assigned_or_changed_in_place() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("assigned", torch.zeros(3))
            self.register_buffer("in_place", torch.zeros(3, dtype=torch.int64))
            self.register_buffer("untouched", torch.full((3,), 2.0))
            self.plain = torch.tensor([1.0, 2.0, 3.0])

        def forward(self, x: Tensor) -> Tensor:
            self.assigned = self.assigned + self.plain
            self.in_place[1:] += 1
            return (self.weight * x * self.untouched * torch.tensor([1.0, 1.0, 0.5])).sum()

    model = Counting()
    trace = trace_of(model, loss=lambda model, x: model(x), data={"x": np.ones((4, 3), np.float32)})
    runner = GraphRunner(trace)
    runner.advance(3)
    assert runner.values["model.assigned"].tolist() == [3.0, 6.0, 9.0]
    assert runner.values["model.in_place"].tolist() == [0, 3, 3]
    assert model.assigned.tolist() == [0.0, 0.0, 0.0] and model.in_place.tolist() == [0, 0, 0]
    constants = names(trace, Role.CONSTANT)
    assert "model.untouched" in constants and {"tensor.0", "tensor.1"} <= set(constants)


def test_no_more_memory_than_the_arrays_is_needed() -> None:
    """The step is traced on shapes alone: a product with 10^14 elements costs nothing."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            wide = self.weight.sum() * torch.ones(10_000_000, 1)
            return (wide @ wide.t()).mean() * x.mean()

    trace_of(Wide(), loss=lambda model, x: model(x), data={"x": np.ones((4, 3), np.float32)})


PROGRAM = """
import hashlib, torch
from sample_models import Transformer, predict_next, texts
from tallystick.capture import capture_training
from tallystick.capture.optimizers.adam import AdamW
from tallystick.spec.encoding import encode_program
torch.manual_seed(0)
captured = capture_training(
    model=Transformer(layers=1, rotary=True), loss=predict_next, optimizer=AdamW(clip_norm=1.0), data=texts(),
    batch_size=4, steps=10, seed=1,
)
parts = [encode_program(captured.program), *(array.tobytes() for array in (*captured.state, *captured.constants))]
text = repr((captured.state_names, captured.constant_names, captured.sources)).encode()
print(hashlib.sha256(b"".join([*parts, text])).hexdigest())
"""


def test_every_process_captures_the_same_bytes() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": "tests"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    digests = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(digests[0]) == 64 and digests[0] == digests[1]
