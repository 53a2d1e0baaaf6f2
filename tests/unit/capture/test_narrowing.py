"""Rounding what is stored narrow, and integers with scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import EagerRun
from lowered_operators import compare, run_function
from tallystick.capture.inputs import Role, from_array
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.steps.narrowing import quantized, stored_narrow
from tallystick.capture.storage import Storage
from tallystick.capture.training import capture_training
from tallystick.engine import Engine
from tallystick.errors import CaptureError
from tallystick.spec.tensors import DType

LARGEST = float(np.finfo(np.float32).max)


def test_programs_round_at_random_as_pytorch_is_told_to() -> None:
    """Bit for bit, special values included."""
    values = torch.randn(3, 5, 7) * torch.tensor([1e-40, 1.0, 1e30]).reshape(3, 1, 1)
    values[0, 0] = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), LARGEST, -1e-45])

    def rounded(x: Tensor) -> Tensor:
        return torch.ops.tallystick.round_stochastic(x, torch.tensor([4]), 9, 0xFFFFFFFE)

    (ours,) = run_function(rounded, values, step=4)
    theirs = rounded(values)
    assert ours.tobytes() == theirs.view(torch.int16).numpy().tobytes()
    assert theirs[0, 0, :4].tolist() == [0.0, 0.0, float("inf"), float("-inf")] and theirs[0, 0, 4].isnan()
    (other,) = run_function(rounded, values, step=5)
    assert ours.tobytes() != other.tobytes(), "every step draws anew"


def test_rounding_at_random_is_right_in_the_mean() -> None:
    """A quarter of the way between two neighbours: up once in four times."""
    low, high = 1.0, 1.0 + 2.0**-7
    x = torch.full((200, 200), low + (high - low) / 4)
    drawn = torch.ops.tallystick.round_stochastic(x, torch.tensor([0]), 1, 5)
    assert set(drawn.unique().tolist()) == {low, high}
    assert (drawn == high).float().mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / x.numel()) ** 0.5)


def test_integers_and_scales_keep_every_row_to_half_a_unit() -> None:
    array = np.random.default_rng(0).standard_normal((6, 4, 3)).astype(np.float32)
    array[2] = 0
    integers, scales = quantized(from_array("model.w", Role.CONSTANT, array))
    assert integers.array is not None and scales.array is not None
    assert (scales.name, scales.shape, integers.array.dtype) == ("model.w_scale", (6, 1, 1), np.int8)
    error = np.abs(integers.array * scales.array - array)
    assert (error <= scales.array * 0.5001).all() and error.max() > 0
    assert not integers.array[2].any() and scales.array[2] == 1


def test_what_overflows_is_refused_and_infinity_stays() -> None:
    made = from_array("optimizer.sum.w", Role.STATE, np.array([1.0, 7e4], np.float32))
    with pytest.raises(CaptureError, match=r"optimizer.sum.w\[1\] is 70000.0, beyond f16"):
        stored_narrow(made, "f16")
    assert stored_narrow(made, "bf16").dtype is torch.bfloat16 and stored_narrow(made, None) is made


def test_narrow_weights_are_read_by_products_without_a_copy() -> None:
    """No kernel only widens: bf16 weights cost half the memory traffic, not more."""
    model = nn.Sequential(nn.Linear(64, 64, bias=False).requires_grad_(False), nn.Linear(64, 8, bias=False))
    data = {"x": np.ones((4, 64), np.float32)}

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return model(x).square().mean()

    for storage in (Storage(), Storage(trained="bf16", frozen="bf16")):
        captured = capture_training(
            model=model, loss=loss, optimizer=SGD(), data=data, batch_size=2, steps=4, storage=storage
        )
        wide = [
            kernel for kernel in captured.program.kernels if kernel.out_shape == (64, 64) and not kernel.reduce_shape
        ]
        assert wide == []
    names = dict(zip(captured.state_names, captured.program.states, strict=True))
    assert names["model.1.weight"].dtype is DType.BF16


# CASTS IN THE USER'S CODE


def test_casts_round_as_in_pytorch() -> None:
    x = torch.randn(5, 6)
    compare(lambda x: x.to(torch.bfloat16).float() + x.half().float(), x, rtol=0, atol=0)
    compare(lambda x: (x.bfloat16() * 3 + 1).float(), x, rtol=0, atol=0)


def losses_of(job: dict[str, Any]) -> np.ndarray:
    """What the engine records."""
    captured = capture_training(**job)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants, step=0) as session:
        session.advance(job["steps"])
        return dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]


class Casting(nn.Module):
    """A buffer in half precision and a frozen layer in bfloat16, cast by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6).bfloat16().requires_grad_(False)
        self.out = nn.Linear(6, 1)
        self.register_buffer("gain", torch.full((6,), 0.3, dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.base(x.bfloat16()).float() * self.gain)


def test_parts_in_half_precision_mean_what_they_mean_in_pytorch() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    job = {
        "model": Casting(),
        "loss": lambda model, x: F.mse_loss(model(x)[:, 0], x.sum(1)),
        "optimizer": SGD(0.1),
        "data": {"x": rng.standard_normal((20, 6)).astype(np.float32)},
        "batch_size": 5,
        "steps": 30,
    }
    np.testing.assert_allclose(losses_of(job), EagerRun(**job).losses, rtol=1e-2)


def test_autocast_rounds_as_in_pytorch() -> None:
    """Under autocast a product rounds its operands to bfloat16; that is what the program then does."""

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = model(x)
        return F.mse_loss(made.float()[:, 0], x.sum(1))

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    job = {
        "model": nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)),
        "loss": loss,
        "optimizer": SGD(0.05),
        "data": {"x": rng.standard_normal((20, 6)).astype(np.float32)},
        "batch_size": 5,
        "steps": 30,
    }
    np.testing.assert_allclose(losses_of(job), EagerRun(**job).losses, rtol=2e-2)
