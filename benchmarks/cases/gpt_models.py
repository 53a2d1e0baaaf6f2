"""The example's GPT, from a million parameters to 85 million."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

import gpt
from cases.case import Case


@cache
def text(context: int = gpt.CONTEXT) -> dict[str, np.ndarray]:
    """Rows of context + 1 characters of the standard library's source."""
    return {"text": gpt.windows(gpt.standard_library(), context)}


def case(name: str, width: int, heads: int, layers: int, batch: int, context: int = gpt.CONTEXT) -> Case:
    """A GPT of this size, ``batch`` rows of ``context`` tokens a step."""
    model = partial(gpt.GPT, width, heads, layers, context)
    return Case(name, model, gpt.loss, partial(text, context), batch, bar=0.9, goal=0.9)


def cases() -> list[Case]:
    return [
        case("gpt-1m", 128, 4, 5, batch=16),
        case("gpt-10m", 384, 6, 6, batch=16),
        case("gpt-85m", 768, 12, 12, batch=4),
    ]
