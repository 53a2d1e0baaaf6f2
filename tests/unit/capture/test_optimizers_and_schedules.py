"""Factors that depend on the step: in double precision, rounded once."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from tallystick.capture.optimizers import SGD, Adam, AdamW
from tallystick.capture.schedules import evaluate, warmup_cosine, warmup_linear


def test_no_pytorch_is_needed_to_describe_an_optimizer() -> None:
    program = "import sys; from tallystick.capture.optim import AdamW; AdamW(1e-3); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_positions_and_defaults_are_those_of_torch_optim() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1))]
    for ours, theirs in ((SGD, torch.optim.SGD), (Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)):
        defaults = theirs(parameters).defaults
        made = ours()
        for name in ("lr", "betas", "eps", "weight_decay", "amsgrad", "momentum", "dampening", "nesterov"):
            if hasattr(made, name):
                assert getattr(made, name) == defaults[name], f"{ours.__name__}.{name}"
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


def test_a_schedule_is_called_once_per_step_in_order() -> None:
    seen: list[int] = []
    evaluate(lambda step: seen.append(step) or 1.0, 5)
    assert seen == [0, 1, 2, 3, 4]
