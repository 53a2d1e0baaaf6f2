"""A whole job captured: its slots, names, sources and constants, and its meaning by the spec interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import train_eagerly
from lowered_operators import array_of
from sample_models import Perceptron, classify, points
from tallystick.capture import capture_training
from tallystick.capture.optimizers.adam import SGD, AdamW
from tallystick.errors import CaptureError
from tallystick.ir.captured import Captured
from tallystick.ir.verifier import verify
from tallystick.spec.programs import run
from tallystick.spec.tensors import DType
from tallystick.spec.tensors import Tensor as Value


def job(**changes: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    parts = {"model": Perceptron(3, 4, 2), "loss": classify, "optimizer": AdamW(0.05, clip_norm=1.0)}
    return parts | {"data": points(10, 3, 2), "batch_size": 4, "steps": 6} | changes


def test_names_types_and_start() -> None:
    model = Perceptron(3, 4, 2)
    captured = capture_training(**job(model=model))
    verify(captured.program)
    names = ["first.weight", "first.bias", "second.weight", "second.bias"]
    slots = [f"optimizer.{slot}.{name}" for slot in ("exp_avg", "exp_avg_sq") for name in names]
    assert captured.state_names == [*(f"model.{name}" for name in names), *slots, "record.loss"]
    assert captured.constant_names == [
        *("data.x", "data.y", "order"),
        *("schedule.step_size", "schedule.bias_correction", "schedule.shrink"),
    ]
    assert len(captured.sources) == len(captured.program.kernels)
    for types, arrays in (
        (captured.program.states, captured.state),
        (captured.program.constants, captured.constants),
    ):
        for type, array in zip(types, arrays, strict=True):
            assert type.shape == array.shape and array.flags.c_contiguous
            assert array.dtype == {DType.F32: np.float32, DType.I32: np.int32}[type.dtype]
    assert (captured.state[0] == model.first.weight.detach().numpy()).all()
    assert not captured.state[4].any() and captured.state[-1].shape == (6,)


def interpret(captured: Captured, steps: int) -> dict[str, np.ndarray]:
    program = captured.program
    state = [Value(type, array.tobytes()) for type, array in zip(program.states, captured.state, strict=True)]
    constants = [Value(t, array.tobytes()) for t, array in zip(program.constants, captured.constants, strict=True)]
    after = run(program, state, constants, 0, steps)
    return {name: array_of(value) for name, value in zip(captured.state_names, after, strict=True)}


@pytest.mark.parametrize("optimizer", [AdamW(0.05, clip_norm=0.3), SGD(0.1, 0.9, nesterov=True)])
def test_the_spec_interpreter_trains_as_eager_pytorch(optimizer: Any) -> None:
    parts = job(optimizer=optimizer)
    state = interpret(capture_training(**parts), 6)
    losses, parameters = train_eagerly(**parts)
    np.testing.assert_allclose(state["record.loss"], losses, rtol=1e-5)
    for name, value in parameters.items():
        np.testing.assert_allclose(state[f"model.{name}"], value.numpy(), rtol=1e-4, atol=1e-5)


def test_memory_mapped_data_stay_on_disk(tmp_path: Path) -> None:
    data = points(10, 3, 2)
    np.save(tmp_path / "x.npy", data["x"])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    captured = capture_training(**job(data={"x": mapped, "y": data["y"]}))
    constant = captured.constants[captured.constant_names.index("data.x")]
    assert isinstance(constant, np.memmap) and np.shares_memory(constant, mapped)


def test_data_may_be_bytes_booleans_and_halves() -> None:
    def loss(model: nn.Module, image: Tensor, flag: Tensor, half: Tensor, label: Tensor) -> Tensor:
        x = image.float() / 255 + torch.where(flag, 1.0, 0.0).unsqueeze(1) + half.float()
        return F.cross_entropy(model(x), label)

    rng = np.random.default_rng(0)
    data = {
        "image": rng.integers(0, 256, (10, 3), dtype=np.uint8),
        "flag": rng.integers(0, 2, 10).astype(bool),
        "half": rng.normal(size=(10, 3)).astype(np.float16),
        "label": rng.integers(0, 2, 10),
    }
    parts = job(loss=loss, data=data)
    captured = capture_training(**parts)
    types = dict(zip(captured.constant_names, captured.program.constants, strict=True))
    stored = [types[f"data.{name}"].dtype for name in data]
    assert stored == [DType.U8, DType.BOOL, DType.F16, DType.I32]
    losses, _ = train_eagerly(**parts)
    np.testing.assert_allclose(interpret(captured, 6)["record.loss"], losses, rtol=1e-5)


def test_data_may_be_tensors_of_bfloat16() -> None:
    values = torch.randn(10, 3).bfloat16()
    parts = job(data={"x": values, "y": torch.arange(10) % 2}, loss=lambda model, x, y: classify(model, x.float(), y))
    captured = capture_training(**parts)
    constant = captured.constants[captured.constant_names.index("data.x")]
    assert constant.dtype == np.uint16 and (constant == values.view(torch.int16).numpy().view(np.uint16)).all()
    assert np.isfinite(interpret(captured, 2)["record.loss"]).all()


def test_an_operator_that_cannot_be_lowered_is_named_with_its_line() -> None:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return torch.linalg.svdvals(model(x)).mean()  # decomposes

    with pytest.raises(CaptureError, match=r"_linalg_svd.*test_capture_training\.py:\d+ loss: .*# decomposes"):
        capture_training(**job(loss=loss))


def test_the_data_stay_the_callers() -> None:
    data = points(10, 3, 2)
    captured = capture_training(**job(data=data))
    assert captured.constants[captured.constant_names.index("data.x")] is data["x"]
    assert data["y"].dtype == np.int64
