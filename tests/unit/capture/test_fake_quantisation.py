"""Fake quantisation, learned scales and observers are PyTorch's, bit for bit where a scale is given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import GraphRunner, train_eagerly
from lowered_operators import compare, gradients
from tallystick.capture.decompositions.fake_quantisation import observe_and_quantise
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.training import captured, trace_training
from tallystick.engine import Engine
from tallystick.engine.target import Target
from tallystick.errors import CaptureError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the whole package is to move to another one
    import torch.ao.quantization as tq


def numbers(*shape: int) -> Tensor:
    return (3.0 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).requires_grad_()


SCALES = torch.tensor([0.013, 0.05, 0.2])
CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "per tensor": (lambda x: torch.fake_quantize_per_tensor_affine(x, 0.013, 128, 0, 255), ()),
    "per tensor, few values": (lambda x: torch.fake_quantize_per_tensor_affine(x, 1.0 / 3.0, 0, -4, 3), ()),
    "per tensor, ties": (lambda x: torch.fake_quantize_per_tensor_affine((x * 2).round() / 2, 1.0, 1, -8, 7), ()),
    "per tensor, by tensors": (
        lambda x, scale, zero: torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127),
        (torch.tensor([0.013]), torch.tensor([5], dtype=torch.int32)),
    ),
    "per channel": (
        lambda x, scale, zero: torch.fake_quantize_per_channel_affine(x, scale, zero, 1, -128, 127),
        (SCALES, torch.tensor([0, -9, 127], dtype=torch.int32)),
    ),
    "per channel, float zero points": (
        lambda x, scale, zero: torch.fake_quantize_per_channel_affine(x, scale, zero, 1, 0, 255),
        (SCALES, torch.tensor([0.4, 9.5, 127.7])),
    ),
    "learned": (
        lambda x, scale, zero: torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero, 0, 255, 0.5),
        (torch.tensor([0.013], requires_grad=True), torch.tensor([12.3], requires_grad=True)),
    ),
    "learned, half a zero point": (
        lambda x, scale, zero: torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero, -128, 127, 1.0),
        (torch.tensor([0.02], requires_grad=True), torch.tensor([4.5], requires_grad=True)),
    ),
    "learned per channel": (
        lambda x, scale, zero: torch._fake_quantize_learnable_per_channel_affine(x, scale, zero, 1, -128, 127, 0.1),
        (SCALES.clone().requires_grad_(), torch.tensor([0.4, -9.5, 300.0], requires_grad=True)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    function, rest = CASES[name]
    x = numbers(5, 3, 4)
    assert (function(x, *rest) != x).any()
    compare(gradients(function), x, *rest, rtol=0.0 if "learned" not in name else 2e-6, atol=2e-6)


@pytest.mark.parametrize("seed", range(96))
def test_an_observer_follows_ranges_as_pytorchs_own_does(seed: int) -> None:
    """Ranges of one sign, of nothing but 0, far too small, with the observer or the rounding switched off."""
    generator = torch.Generator().manual_seed(seed)
    by_row, symmetric, (low, high) = seed % 2 == 1, seed // 2 % 2 == 1, ((0, 255), (-128, 127), (0, 127))[seed % 3]
    size, shift = (1.0, 1e-6, 1e3, 0.0)[seed // 4 % 4], (0.0, 1.0, -3.0)[seed // 16 % 3]
    rows = 4 if by_row else 1
    theirs = [torch.full((rows,), np.inf), torch.full((rows,), -np.inf), torch.ones(rows), torch.zeros(rows).int()]
    mine = [buffer.clone() for buffer in theirs]
    for step in range(4):
        x = (torch.randn(4, 3, 2, generator=generator) + shift) * size
        switches = torch.tensor([int(step != 2)]), torch.tensor([int(step != 1)])
        options = (0.01, low, high, 0, by_row, symmetric)
        want, wanted_mask = torch.ops.aten._fused_moving_avg_obs_fq_helper(x, *switches, *theirs, *options)
        got, mask = observe_and_quantise(x, *switches, *mine, *options)
        for ours, other in zip((*mine, got), (*theirs, want), strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-6, atol=0.0)
        assert torch.equal(mask, wanted_mask)


# TRAINING
class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 16), nn.Linear(16, 3)
        observer = tq.MovingAverageMinMaxObserver
        self.quant = tq.FusedMovingAvgObsFakeQuantize(observer=observer, quant_min=0, quant_max=255)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.quant(self.one(x).relu()))


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((64, 6), dtype=np.float32), "y": rng.integers(0, 3, 64)}


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def prepared() -> nn.Module:
    """A model as PyTorch's recipe for quantisation-aware training leaves it: with quantised activations and weights."""
    torch.manual_seed(0)
    layers = (tq.QuantStub(), nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3), tq.DeQuantStub())
    model = nn.Sequential(*layers).train()
    model.qconfig = tq.get_default_qat_qconfig("x86")
    return tq.prepare_qat(model)


def by_row(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x.unsqueeze(1)), y)


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("recipe", [False, True])
def test_quantisation_aware_training_is_that_of_eager_pytorch(recipe: bool) -> None:
    torch.manual_seed(0)
    model, function = (prepared(), by_row) if recipe else (Quantised(), loss)
    if recipe:
        function(model, *(torch.from_numpy(array[:4]) for array in data().values()))
    options = {"batch_size": 16, "steps": 12}
    losses, state = train_eagerly(model, function, SGD(0.1), data(), **options)
    trace = trace_training(model=model, loss=function, optimizer=SGD(0.1), data=data(), **options)
    runner = GraphRunner(trace)
    runner.advance(12)
    np.testing.assert_allclose(runner.losses, losses, rtol=1e-4)
    for name, value in state.items():
        if name.endswith(("min_val", "max_val", "scale", "zero_point")):
            np.testing.assert_allclose(runner.values[f"model.{name}"], value, rtol=1e-4, atol=1e-6)
    job = captured(trace)
    engine = Engine(job.program, threads=1, target=Target.host(0))
    with engine.start(job.state, job.constants) as session:
        session.advance(12)
        recorded = np.array(session.state()[job.state_names.index("record.loss")])
    np.testing.assert_allclose(recorded, losses, rtol=1e-3)


def test_buffers_without_a_size_are_refused_with_the_line() -> None:
    options = {"batch_size": 16, "steps": 2, "optimizer": SGD(0.1), "data": data()}
    with pytest.raises(CaptureError, match=r"by_row[\s\S]*call the model once on a batch"):
        trace_training(model=prepared(), loss=by_row, **options)


def test_an_observer_that_reads_values_is_refused_and_the_advice_works() -> None:
    model = Quantised()
    model.quant = tq.FakeQuantize(observer=tq.MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    options = {"batch_size": 16, "steps": 2, "optimizer": SGD(0.1), "data": data()}
    with pytest.raises(CaptureError, match=r"FusedMovingAvgObsFakeQuantize with a MovingAverageMinMaxObserver"):
        trace_training(model=model, loss=loss, **options)
    trace_training(model=Quantised(), loss=loss, **options)
