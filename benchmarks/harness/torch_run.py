"""Training in PyTorch as a user would write it, and the same compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import tallystick as ts
from cases import Case
from tallystick.ir.captured import Captured

LR, DECAY, CLIP = 1e-3, 0.01, 1.0


class TorchRun:
    """One step at a time: fetch a batch, forward, backward, clip the gradient norm, AdamW."""

    def __init__(self, case: Case, fused: bool, compiled: bool = False) -> None:
        torch.manual_seed(0)
        self.case = case
        self.model = case.model().train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, weight_decay=DECAY, fused=fused)
        self.data = {name: torch.from_numpy(rows).to(dtype_of(rows)) for name, rows in case.data().items()}
        self.order = torch.randperm(len(next(iter(self.data.values()))))
        self.step = 0
        self.loss: Any = torch.compile(case.loss) if compiled else case.loss

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            start = self.step * self.case.batch_size
            rows = self.order[torch.arange(start, start + self.case.batch_size) % len(self.order)]
            self.optimizer.zero_grad()
            loss = self.loss(self.model, **{name: data[rows] for name, data in self.data.items()})
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()
            self.step += 1


def dtype_of(rows: np.ndarray) -> torch.dtype:
    return torch.float32 if rows.dtype.kind == "f" else torch.int64


def capture(case: Case) -> Captured:
    """The same step as a program."""
    torch.manual_seed(0)
    return ts.capture_training(
        model=case.model(),
        loss=case.loss,
        optimizer=ts.optim.AdamW(lr=LR, weight_decay=DECAY, clip_norm=CLIP),
        data=case.data(),
        batch_size=case.batch_size,
        steps=1 << 16,
        seed=0,
        storage=case.storage,
    )
