"""Factors that depend on the step: in double precision, rounded once."""

from __future__ import annotations

import dataclasses
import inspect
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from tallystick.capture.optimizers.adam import SGD, Adam, AdamW, NAdam, RAdam
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.optimizers.muon import Muon
from tallystick.capture.optimizers.others import Adafactor, Adagrad, RMSprop
from tallystick.capture.optimizers.schedules import (
    Schedule,
    evaluate,
    exponential,
    multi_step,
    one_cycle,
    warmup_constant,
    warmup_cosine,
    warmup_inverse_sqrt,
    warmup_linear,
    warmup_polynomial,
)
from tallystick.errors import CaptureError


def test_no_pytorch_is_needed_to_describe_an_optimizer() -> None:
    program = "import sys; from tallystick.capture.optim import AdamW; AdamW(1e-3); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_positions_and_defaults_are_those_of_torch_optim() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1))]
    matrix = [torch.nn.Parameter(torch.ones(2, 2))]
    for ours in (SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adafactor, Muon):
        theirs = getattr(torch.optim, ours.__name__)
        defaults = theirs(matrix if ours is Muon else parameters).defaults
        common = [f.name for f in dataclasses.fields(ours) if f.name in defaults]
        assert {"lr", "weight_decay"} <= set(common)
        for name in common:
            expected = "original" if name == "adjust_lr_fn" else defaults[name]
            assert getattr(ours(), name) == expected, f"{ours.__name__}.{name}"
        places = [f.name for f in dataclasses.fields(ours) if not f.kw_only]
        known = [name for name in inspect.signature(theirs).parameters if name in places]
        assert places == known, f"{ours.__name__} takes its arguments in another order"
    assert SGD(0.1, 0.9, 0.5, 0.01).weight_decay == 0.01
    assert Adam(0.1, (0.8, 0.9), 1e-6, 0.2, True).amsgrad


def test_bias_corrections_are_rounded_once() -> None:
    optimizer = AdamW(1e-3, betas=(0.9, 0.999), weight_decay=0.1, schedule=lambda step: 0.5**step)
    tables = optimizer.tables([1e-3 * 0.5**step for step in range(300)])
    for step in (0, 1, 16, 299):
        rate = 1e-3 * 0.5**step
        assert tables["step_size"][step] == np.float32(rate / (1 - 0.9 ** (step + 1)))
        assert tables["bias_correction"][step] == np.float32(math.sqrt(1 - 0.999 ** (step + 1)))
        assert tables["shrink"][step] == np.float32(1 - rate * 0.1)
    assert all(table.dtype == np.float32 and table.shape == (300,) for table in tables.values())


def test_dampening_spares_the_first_step() -> None:
    tables = SGD(0.1, momentum=0.9, dampening=0.25).tables([0.1] * 3)
    assert tables["fresh"].tolist() == [1.0, 0.75, 0.75]


def test_warmup_cosine() -> None:
    schedule = warmup_cosine(100, 10, 0.1)
    factors = evaluate(schedule, 120)
    assert factors[0] == 0.1 and factors[9] == 1.0 and factors[10] == 1.0
    assert factors[55] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1) and factors[119] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors[10:]))


def test_warmup_linear() -> None:
    factors = evaluate(warmup_linear(10, 2), 12)
    assert factors == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0])


TORCH_SCHEDULES = {
    "multi_step": (multi_step(3, 7, gamma=0.5), lambda o: lr_scheduler.MultiStepLR(o, [3, 7], 0.5)),
    "exponential": (exponential(0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "step decay": (exponential(0.5, every=4), lambda o: lr_scheduler.StepLR(o, 4, 0.5)),
    "one_cycle": (one_cycle(30), lambda o: lr_scheduler.OneCycleLR(o, 1.0, 30, cycle_momentum=False)),
    "one_cycle, short rise": (
        one_cycle(30, rise=0.1, start=0.1, floor=1e-3),
        lambda o: lr_scheduler.OneCycleLR(
            o, 1.0, 30, pct_start=0.1, div_factor=10, final_div_factor=100, cycle_momentum=False
        ),
    ),
    "cosine": (warmup_cosine(30, floor=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, 30, 0.1)),
    "restarts": (warmup_cosine(30, cycles=3), lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10)),
    "polynomial": (warmup_polynomial(30, power=2.0), lambda o: lr_scheduler.PolynomialLR(o, 30, 2.0)),
}


@pytest.mark.parametrize("name", TORCH_SCHEDULES)
def test_schedules_are_those_of_torch(name: str) -> None:
    ours, make = TORCH_SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = make(optimizer)
    for factor in evaluate(ours, 30):
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (warmup_constant(10), lambda s: 1.0),
        (warmup_linear(50, 10), lambda s: (50 - s) / 40),
        (warmup_polynomial(50, 10, 0.1, 3.0), lambda s: 0.9 * (1 - (s - 10) / 40) ** 3 + 0.1),
        (warmup_inverse_sqrt(10), lambda s: 1.0 / math.sqrt(s / 10)),
        (warmup_inverse_sqrt(10, 40), lambda s: 1.0 / math.sqrt((s + 30) / 40)),
        (warmup_cosine(50, 10, cycles=2), lambda s: 0.5 * (1 + math.cos(math.pi * (2 * (s - 10) / 40 % 1)))),
    ],
)
def test_after_the_warm_up_schedules_are_those_of_transformers(ours: Schedule, theirs: Schedule) -> None:
    """Its formulas, written out. Its warm-ups begin at 0, ours one step further, so that the first step moves."""
    factors = evaluate(ours, 50)
    assert factors[:10] == [(step + 1) / 10 for step in range(10)]
    assert factors[10:] == pytest.approx([theirs(step) for step in range(10, 50)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: multi_step(), "milestones are numbers"),
        (lambda: multi_step(5, 3), "rising order"),
        (lambda: exponential(-1.0), "gamma must be a positive number"),
        (lambda: exponential(0.5, every=0), "every must be a whole number"),
        (lambda: one_cycle(1), "steps must be a whole number of at least 2"),
        (lambda: one_cycle(10, rise=1.0), "fractions"),
        (lambda: warmup_cosine(10, cycles=0), "cycles must be"),
        (lambda: warmup_polynomial(10, power=0.0), "power must be"),
        (lambda: warmup_inverse_sqrt(-1), "warmup must be"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(make, words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        make()


def test_a_schedule_is_called_once_per_step_in_order() -> None:
    seen: list[int] = []
    evaluate(lambda step: seen.append(step) or 1.0, 5)
    assert seen == [0, 1, 2, 3, 4]


def test_averages_start_with_the_first_update_and_warm_up_if_asked() -> None:
    assert EMA(0.9).weights(3).tolist() == [1.0, np.float32(1 - 0.9), np.float32(1 - 0.9)]
    warm = EMA(0.9, warmup=True).weights(200)
    assert warm[0] == 1.0 and warm[1] == np.float32(1 - 2 / 11) and warm[199] == np.float32(1 - 0.9)
    assert all(a >= b for a, b in pairwise(warm))
