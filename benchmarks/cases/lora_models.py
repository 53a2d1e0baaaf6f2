"""Adapters beside a published chat model of 135 million parameters, as examples/lora.py trains them."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
from torch import Tensor, nn

import tallystick as ts
from cases.case import Case

BATCH = 4  # as the example's


@cache
def published() -> nn.Module:
    import lora

    return lora.published(lora.weights())


def adapted() -> nn.Module:
    import lora

    return lora.adapted(copy.deepcopy(published()))


def loss(model: nn.Module, ids: Tensor, labels: Tensor) -> Tensor:
    import lora

    return lora.loss(model, ids, labels)


@cache
def questions() -> dict[str, np.ndarray]:
    import lora

    return lora.encode(lora.tokenizer(lora.weights()), lora.questions()[0])


def cases() -> list[Case]:
    """The peer of both is peft as it is, in float32."""
    narrow = ts.Storage(frozen="bf16")
    return [
        Case("smollm2-lora", adapted, loss, questions, BATCH, bar=0.9, goal=1.0),
        Case("smollm2-lora-bf16", adapted, loss, questions, BATCH, bar=0.9, goal=1.0, storage=narrow),
    ]
