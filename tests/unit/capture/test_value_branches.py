"""Python that asks for values of tensors: known ones are told, checks are noted by the program, the rest is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from captured_runs import final
from checked_losses import asserted, caught, caught_outside, raising
from side_by_side import BATCH, Setup, assert_same, points, train_captured
from tallystick.errors import CaptureError, JobError

DATA = points()
TRAIN = torch.arange(8) % 3 != 0


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("started", torch.zeros(1))


def by_a_buffer(model: Any, x: Tensor, y: Tensor) -> Tensor:
    out = model.body(x)
    if model.mask.sum() == 2 and float(model.mask.float().mean()) > 0.5:
        out = out * 2.0
    return F.cross_entropy(out, y)


def by_a_constant(model: Any, x: Tensor, y: Tensor) -> Tensor:
    causal = torch.ones(4, 4).tril()
    scale = 3.0 if torch.equal(causal, causal.tril()) and causal.sum().item() == 10 else 1.0
    return F.cross_entropy(model.body(x) * scale, y)


def by_a_constant_mask(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model.body(x)[TRAIN], y[TRAIN]) + model.body(x).masked_select(model.mask).mean()


def through_numpy(model: Any, x: Tensor, y: Tensor) -> Tensor:
    scale = np.asarray(TRAIN.float()).mean() + model.mask.float().numpy().sum()
    return F.cross_entropy(model.body(x) * float(scale), y)


def never_skipped(model: Any, x: Tensor, y: Tensor) -> Tensor:
    skip = torch.rand([]) < 0.0
    return F.cross_entropy(model.body(x), y) if not skip else x.sum()


def distributed(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return -torch.distributions.Categorical(logits=model.body(x)).log_prob(y).mean()


@pytest.mark.parametrize(
    "loss",
    [by_a_buffer, by_a_constant, by_a_constant_mask, through_numpy, never_skipped, asserted, raising, distributed],
)
def test_known_values_and_checks(loss: Callable[..., Tensor]) -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Masked(), loss)

    assert_same(make, DATA)


def test_checks_that_the_data_prove_cost_nothing() -> None:
    def loss(model: Any, x: Tensor, y: Tensor) -> Tensor:
        assert (y >= 0).all()
        return F.cross_entropy(model.body(x), y)

    found = train_captured(Setup(Masked(), loss), DATA)
    assert not any(name.startswith("check.") for name in found)


def test_a_failed_check_is_noted_and_reported(tmp_path: Path) -> None:
    def growing(model: Any, x: Tensor) -> Tensor:
        if (model.weight > 1.2).any():
            raise ValueError("too large")
        return -model(x).mean()

    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    job = ts.TrainingJob(
        model=model,
        loss=growing,
        optimizer=ts.optim.SGD(0.5),
        data={"x": np.ones((8, 1), np.float32)},
        batch_size=BATCH,
        steps=9,
    )
    after = final(job.capture(), 5)
    assert [value.tolist() for name, value in after.items() if name.startswith("check.")] == [[4]]
    with pytest.raises(JobError, match=r"^step 3: test_value_branches.py:\d+ growing"):
        job.run(tmp_path / "run")


def changing_flag(model: Any, x: Tensor, y: Tensor) -> Tensor:
    if not model.started:
        model.started.fill_(1)
    return F.cross_entropy(model.body(x), y)


def test_a_value_that_the_step_changes_is_refused_and_the_advice_works() -> None:
    with pytest.raises(CaptureError, match=r"changing_flag.*(?s:.*)model\.started, which the step changes"):
        train_captured(Setup(Masked(), changing_flag), DATA)
    ready = Masked()
    ready.started.fill_(1)  # "bring it into its final state before the job"
    train_captured(Setup(ready, changing_flag), DATA)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda model, x, y: model.body(x).sum() * (2.0 if x.sum() > 0 else 1.0), r"torch\.where"),
        (lambda model, x, y: model.body(x).sum() * x.max().item(), "leave it a tensor"),
        (
            lambda model, x, y: model.body(x).sum() * float(model.body(x).detach().numpy().max()),
            r"out of PyTorch \(numpy\)",
        ),
        (lambda model, x, y: model.body(x).sum() if torch.rand([]) < 0.5 else x.sum(), r"torch\.where"),
        (lambda model, x, y: model.body(x).sum() + F.one_hot(y).sum(), r"num_classes="),
        (lambda model, x, y: model.body(x).sum() * model.body.weight.data_ptr(), "data_ptr"),
    ],
)
def test_what_depends_on_data_is_refused(loss: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(CaptureError, match=rf"test_value_branches.py:\d+(?s:.*){message}"):
        train_captured(Setup(Masked(), loss), DATA)


@pytest.mark.parametrize("loss", [caught, caught_outside])
def test_a_check_that_is_caught_is_a_choice(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(CaptureError, match=r"checked_losses.py:\d+(?s:.*)torch\.where"):
        train_captured(Setup(Masked(), loss), DATA)


def test_a_message_with_a_number_is_written() -> None:
    messages: list[str] = []

    def loss(model: Any, x: Tensor, y: Tensor) -> Tensor:
        value = F.cross_entropy(model.body(x), y)
        messages[:] = [f"loss {value:.3f}, {TRAIN.float().mean():.2f} are trained on"]
        return value

    train_captured(Setup(Masked(), loss), DATA)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("kind", ["made in forward", "boolean", "padding"])
def test_masks_of_transformer_encoders(kind: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True), 1)

        def forward(self, x: Tensor) -> Tensor:
            if kind == "padding":
                return self.body(x, src_key_padding_mask=x[..., 0] > 3.0)
            mask = nn.Transformer.generate_square_subsequent_mask(4)
            return self.body(x, mask=mask if kind == "made in forward" else mask.bool())

    def make() -> Setup:
        torch.manual_seed(0)
        return Setup(Model(), lambda model, x: model(x).square().mean())

    assert_same(make, {"x": np.random.default_rng(0).standard_normal((16, 4, 6), dtype=np.float32)})


def test_batch_norm_averages_over_all_batches() -> None:
    def make() -> Setup:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, momentum=None), nn.Linear(5, 3))
        return Setup(model, lambda model, x, y: F.cross_entropy(model(x), y))

    assert assert_same(make, DATA)["model.1.num_batches_tracked"] == 20


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("how", ["compiled", "compiled in place", "a part compiled"])
def test_compiled_models_run_as_they_were_written(how: str) -> None:
    def make(compiled: bool) -> Setup:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        if compiled and how == "compiled":
            model = torch.compile(model)
        elif compiled and how == "compiled in place":
            model.compile()
        elif compiled:
            model[0] = torch.compile(model[0])
        return Setup(model, lambda model, x, y: F.cross_entropy(model(x), y))

    plain, compiled = (train_captured(make(kind), DATA) for kind in (False, True))
    np.testing.assert_array_equal(plain["record.loss"], compiled["record.loss"])


def test_a_mask_that_selects_nothing_is_refused() -> None:
    nothing = torch.zeros(8, dtype=torch.bool)

    def loss(model: Any, x: Tensor, y: Tensor) -> Tensor:
        return model.body(x).sum() + model.body(x)[nothing].sum()

    with pytest.raises(CaptureError, match=r"test_value_branches.py:\d+ loss(?s:.*)without elements"):
        train_captured(Setup(Masked(), loss), DATA)
