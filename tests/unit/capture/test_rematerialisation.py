"""Large tensors are made again instead of kept: the same bits in less memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from tallystick.capture.kernels.rematerialisation import rematerialised
from tallystick.engine import Engine
from tallystick.ir.captured import Captured
from tallystick.ir.verifier import verify
from tallystick.spec.programs import Program

T, HEADS, WIDTH = 64, 2, 8
STEPS = 2
MINIMUM = 1 << 10

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = (torch.arange(T)[:, None] - torch.arange(T)).abs() < 9
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def with_bias(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    bias = -0.1 * (torch.arange(T)[:, None] - torch.arange(T)).abs().float()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def with_dropout(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.2)


def grouped_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], is_causal=True, enable_gqa=True)


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    hidden = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    return F.dropout(scores.masked_fill(hidden, -1e9).softmax(-1), 0.1) @ v


class Layers(nn.Module):
    """Two layers of attention on (N, T, WIDTH), with what most people put between them."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(4 * WIDTH, WIDTH) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        for qkv, up, down in zip(self.qkv, self.up, self.down, strict=True):
            parts = qkv(x).split(width, -1)
            q, k, v = (part.view(n, t, HEADS, width // HEADS).transpose(1, 2) for part in parts)
            x = x + self.attend(q, k, v).transpose(1, 2).reshape(n, t, width)
            x = x + down(F.gelu(up(x)))
        return x


def loss(model: nn.Module, x: Tensor) -> Tensor:
    return (model(x) ** 2).mean()


def capture(attend: Attend) -> Captured:
    torch.manual_seed(0)
    return ts.capture_training(
        model=Layers(attend),
        loss=loss,
        optimizer=ts.optim.SGD(lr=0.1, momentum=0.9),
        data={"x": np.random.default_rng(0).standard_normal((4, T, WIDTH), dtype=np.float32)},
        batch_size=2,
        steps=STEPS,
    )


def end_of(captured: Captured, program: Program) -> list[bytes]:
    with Engine(program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(STEPS)
        return [slot.tobytes() for slot in session.state()]


@pytest.mark.parametrize("attend", [causal, masked, with_bias, with_dropout, grouped_queries, by_hand])
def test_the_same_state_in_less_memory(attend: Attend) -> None:
    captured = capture(attend)
    program, sources = rematerialised(captured.program, captured.sources, MINIMUM)
    verify(program)
    assert len(sources) == len(program.kernels) > len(captured.program.kernels)
    kept, again = (Engine(each, threads=1).plan.arena_bytes for each in (captured.program, program))
    # Two layers' weights of (2, HEADS, T, T) were alive when the last one's gradient was made.
    assert kept - again > 0.9 * 2 * HEADS * T * T * 4
    assert end_of(captured, program) == end_of(captured, captured.program)


def test_small_programs_stay_as_they_are() -> None:
    captured = capture(causal)
    assert rematerialised(captured.program, captured.sources) == (captured.program, captured.sources)


def test_no_kernel_is_left_that_nobody_reads() -> None:
    captured = capture(with_dropout)
    program, _ = rematerialised(captured.program, captured.sources, MINIMUM)
    read = {view.value for kernel in program.kernels for view in kernel.loads} | set(program.next_state)
    made = range(len(program.states) + len(program.constants), len(program.value_types))
    assert read >= set(made)


def test_wide_layers_are_kept() -> None:
    """Made from as much as they are: an activation of four times the width is not worth another product."""
    captured = capture(lambda q, k, v: q + k + v)
    assert rematerialised(captured.program, captured.sources, MINIMUM)[0] == captured.program
