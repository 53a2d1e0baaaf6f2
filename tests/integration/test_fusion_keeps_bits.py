"""Fused and unfused programs of whole training steps end in the same state, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sample_models as samples
from tallystick.capture import optim
from tallystick.capture.inputs import Role
from tallystick.capture.lowering import lower
from tallystick.capture.training import slot, stored, trace_training
from tallystick.engine import Engine
from tallystick.ir.verifier import verify

STEPS = 3

JOBS: dict[str, dict[str, Any]] = {
    "perceptron": {"model": samples.Perceptron, "loss": samples.classify, "data": samples.points},
    "convolutions": {"model": samples.ConvolutionalNetwork, "loss": samples.classify, "data": samples.images},
    "transformer": {
        "model": lambda: samples.Transformer(layers=1),
        "loss": samples.predict_next,
        "data": samples.texts,
    },
    "rotary transformer": {
        "model": lambda: samples.Transformer(layers=1, rotary=True),
        "loss": samples.predict_next,
        "data": samples.texts,
    },
}


@pytest.mark.parametrize("name", JOBS)
def test_fused_and_unfused_programs_agree(name: str) -> None:
    torch.manual_seed(0)
    job = JOBS[name]
    traced = trace_training(
        model=job["model"](),
        loss=job["loss"],
        optimizer=optim.AdamW(lr=1e-2, weight_decay=0.1, clip_norm=1.0),
        data=job["data"](),
        batch_size=8,
        steps=STEPS,
    )
    slots = [slot(made) for made in traced.inputs]
    state = [stored(made) for made in traced.inputs if made.role is Role.STATE]
    constants = [stored(made) for made in traced.inputs if made.role is Role.CONSTANT]
    ends: list[list[np.ndarray]] = []
    kernels: list[int] = []
    for fused in (True, False):
        program = lower(traced.graph, slots, fused=fused).program
        verify(program)
        kernels.append(len(program.kernels))
        with Engine(program, threads=1).start(state, constants) as session:
            session.advance(STEPS)
            ends.append(session.state())
    assert kernels[0] < kernels[1] / 2, "fusion makes far fewer kernels"
    for fused_end, plain_end in zip(*ends, strict=True):
        assert fused_end.tobytes() == plain_end.tobytes()
    moved = [not np.array_equal(before, after) for before, after in zip(state, ends[0], strict=True)]
    assert sum(moved) > len(moved) / 2, "training changes the state"
