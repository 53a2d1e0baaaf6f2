"""What cannot be captured is a sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tallystick.capture.inputs import Input, Role, from_array, from_tensor
from tallystick.capture.optimizers.adam import SGD, Adam, AdamW
from tallystick.capture.optimizers.schedules import warmup_cosine
from tallystick.capture.training import trace_training
from tallystick.errors import CaptureError


def job(**changes: Any) -> dict[str, Any]:
    return {
        "model": nn.Linear(3, 2),
        "loss": lambda model, x: model(x).square().mean(),
        "optimizer": SGD(0.1),
        "data": {"x": np.ones((4, 3), np.float32)},
        "batch_size": 2,
        "steps": 3,
    } | changes


def with_nan() -> nn.Module:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[1, 2] = float("nan")
    return model


def frozen() -> nn.Module:
    return nn.Linear(3, 2).requires_grad_(False)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no steps": ({"steps": 0}, "steps must be a whole number from 1"),
    "half a step": ({"steps": 1.5}, "steps must be a whole number"),
    "empty batch": ({"batch_size": 0}, "batch_size must be"),
    "batch beyond the data": ({"batch_size": 5}, "batch_size is 5, but the data has only 4 rows"),
    "negative seed": ({"seed": -1}, "seed"),
    "no data": ({"data": {}}, "there is no data"),
    "uneven data": (
        {"data": {"x": np.ones((4, 3), np.float32), "y": np.ones(3, np.float32)}, "loss": lambda model, x, y: 0},
        "x has 4, y has 3 rows",
    ),
    "empty data": ({"data": {"x": np.ones((0, 3), np.float32)}}, "at least one row"),
    "a list": ({"data": {"x": [1.0]}}, "data.x is a list"),
    "large integers": ({"data": {"x": np.array([1, 2, 1 << 31, 4])}}, r"data.x\[2\] is 2147483648.*32-bit"),
    "wrong names": ({"loss": lambda model, y: model(y)}, r"called as loss\(model, x=...\)"),
    "a number as loss": ({"loss": lambda model, x: 1.0}, "returned a float"),
    "a vector as loss": ({"loss": lambda model, x: model(x)}, r"shape \(2, 2\).*\.mean\(\)"),
    "a constant loss": ({"loss": lambda model, x: x.mean()}, "does not depend on any parameter"),
    "nothing to train": ({"model": frozen()}, "nothing to train"),
    "double parameters": ({"model": nn.Linear(3, 2).double()}, r"float64.*"),
    "a start that is NaN": ({"model": with_nan()}, r"model.weight\[1, 2\] is nan before the first step"),
    "no shape yet": ({"model": nn.LazyLinear(2)}, "run the model once"),
    "a schedule without a number": ({"optimizer": SGD(0.1, schedule=lambda step: None)}, "returned None for step 0"),
    "an infinite schedule": ({"optimizer": SGD(0.1, schedule=lambda s: 1e400 * s)}, "returned nan for step 0"),
    "an overflowing schedule": ({"optimizer": SGD(1e30, schedule=lambda s: 1e30)}, "overflows float32"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_refused_jobs(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(CaptureError, match=message):
        trace_training(**job(**changes))


def branches(model: nn.Module, x: Tensor) -> Tensor:
    y = model(x)
    if y.sum() > 0:  # this line
        y = -y
    return y.mean()


def takes_a_number_out(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).mean() * x.max().item()  # this line


def selects(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)[x[:, 0] > 0].mean()  # this line


def lists_numbers(model: nn.Module, x: Tensor) -> Tensor:
    return sum(model(x).mean(1).tolist())  # this line


def compares_all(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).mean() if torch.equal(x, x) else x.mean()  # this line


def selects_by_a_mask(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).masked_select(x[:, :2] > 0).mean()  # this line


def selects_by_numbers(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)[torch.where(x[:, 0] > 0)].mean()  # this line


def finds_values(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).mean() * len(torch.unique(x))  # this line


def repeats(model: nn.Module, x: Tensor) -> Tensor:
    return model(x.repeat_interleave(x[:, 0].long(), 0)).mean()  # this line


def uses_doubles(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).double().mean().float()  # this line


def uses_long_numbers(model: nn.Module, x: Tensor) -> Tensor:
    return (model(x) * (x[:, :2].long() + (1 << 40))).mean()  # this line


def mistakes_a_shape(model: nn.Module, x: Tensor) -> Tensor:
    return model(x[:, :2]).mean()  # this line


def divides_by_zero(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).mean() / (1 // 0)  # this line


@pytest.mark.parametrize(
    "loss, message",
    [
        (branches, r"number out of a tensor.*if, compute both and choose with torch\.where"),
        (takes_a_number_out, r"number out of a tensor \(item.*leave it a tensor"),
        (lists_numbers, r"number out of a tensor \(item, tolist"),
        (compares_all, r"number out of a tensor.*aten\.equal"),
        (selects, r"selects as many elements as data decide \(x\[mask\].*torch\.where\(mask, x, 0\.0\)"),
        (selects_by_a_mask, r"selects as many elements as data decide.*masked_select"),
        (selects_by_numbers, r"selects as many elements as data decide.*nonzero"),
        (finds_values, r"as many results as data have values.*count a fixed range"),
        (repeats, r"as long as its values say: give the length, as output_size="),
        (uses_doubles, r"float64; use float32"),
        (uses_long_numbers, r"1099511627776; integers have 32 bits"),
        (mistakes_a_shape, r"RuntimeError"),
        (divides_by_zero, r"ZeroDivisionError"),
    ],
)
def test_errors_name_the_line(loss: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(CaptureError) as caught:
        trace_training(**job(loss=loss))
    assert re.search(rf"test_trace_errors\.py:\d+ {loss.__name__}: .*# this line", str(caught.value))
    assert re.search(message, str(caught.value), re.DOTALL)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SGD(-0.1), "lr must be a number at least 0, not -0.1"),
        (lambda: SGD("fast"), "lr must be a number"),
        (lambda: SGD(0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas\[1\] must be a number at least 0 and below 1"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay"),
        (lambda: AdamW(clip_norm=0.0), "clip_norm must be a positive number"),
        (lambda: AdamW(lr=float("nan")), "lr"),
        (lambda: warmup_cosine(10, 20), "cannot warm up for 20"),
        (lambda: warmup_cosine(10, 2, 1.5), "floor"),
    ],
)
def test_refused_hyperparameters(make: Callable[[], object], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        make()


PACKAGE = """
def select(model, x):
    return model(x)[x[:, 0] > 0].mean()


def divide(model, x):
    return model(x).mean() / (1 // 0)
"""


@pytest.mark.parametrize("name, inside", [("select", r"return model\(x\)\["), ("divide", r"return model\(x\)\.mean")])
def test_errors_inside_of_a_package_name_the_line_that_led_there_too(name: str, inside: str, tmp_path: Path) -> None:
    file = tmp_path / "site-packages" / "package.py"
    file.parent.mkdir()
    file.write_text(PACKAGE, encoding="utf-8")
    spec = spec_from_file_location("package", file)
    assert spec is not None and spec.loader is not None
    package = module_from_spec(spec)
    spec.loader.exec_module(package)

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return getattr(package, name)(model, x)  # this line

    with pytest.raises(CaptureError) as caught:
        trace_training(**job(loss=loss))
    first, second, *_ = str(caught.value).splitlines()
    assert re.match(rf"package\.py:\d+ {name}: {inside}", first)
    assert re.match(r"  reached from test_trace_errors\.py:\d+ loss: .*# this line", second)


def test_integers_at_the_edge_of_32_bits_are_kept() -> None:
    made = from_array("n", Role.CONSTANT, np.array([[-(1 << 31), (1 << 31) - 1]]))
    assert made.array is not None and made.array.dtype == np.int32
    assert made.array.tolist() == [[-2147483648, 2147483647]]
    assert made.dtype is torch.int64
    for number in (1 << 31, -(1 << 31) - 1):
        with pytest.raises(CaptureError, match=rf"n\[1, 0\] is {number}"):
            from_array("n", Role.CONSTANT, np.array([[0], [number]]))


def test_nans_are_stored_in_their_one_form() -> None:
    bits = np.array([0x7FC00001, 0xFFC00000, 0x7F800001, 0x7F800000], np.uint32)
    made = from_array("x", Role.CONSTANT, bits.view(np.float32))
    assert made.array is not None
    assert made.array.view(np.uint32).tolist() == [0x7FC00000] * 3 + [0x7F800000]
    assert bits[0] == 0x7FC00001, "the caller's array is not changed"


def test_a_large_array_is_not_copied() -> None:
    array = np.ones((10, 3), np.float32)
    assert from_array("x", Role.CONSTANT, array).array is array


def test_big_endian_arrays_are_converted() -> None:
    made = from_array("x", Role.CONSTANT, np.array([1.5, 2.0], ">f4"))
    assert made.array is not None and made.array.dtype == np.dtype("<f4") and made.array.tolist() == [1.5, 2.0]


def test_a_parameter_is_copied_when_captured() -> None:
    p = nn.Parameter(torch.ones(2))
    made: Input = from_tensor("p", Role.STATE, p)
    with torch.no_grad():
        p.zero_()
    assert made.array is not None and made.array.tolist() == [1.0, 1.0]


def test_losses_may_be_callable_objects_with_defaults() -> None:
    class Loss:
        def __call__(self, model: nn.Module, x: Tensor, scale: float = 2.0) -> Tensor:
            return model(x).mean() * scale

    trace_training(**job(loss=Loss()))


def test_a_parameter_taken_from_the_model_before_the_step_is_refused() -> None:
    model = nn.Linear(3, 2)
    held = list(model.parameters())

    def regularised(model: nn.Module, x: Tensor) -> Tensor:
        return model(x).mean() + sum(p.square().sum() for p in held)  # held

    with pytest.raises(CaptureError, match=r"# held\n.*\(model\.weight\).*inside the loss"):
        trace_training(**job(model=model, loss=regularised))
    trace_training(**job(model=model, loss=lambda m, x: m(x).mean() + sum(p.sum() for p in m.parameters())))
