"""Tokens and positions that a model has no entry for: found by asking the model itself, for one token, before capture.

Eager PyTorch raises for an index beyond a table; a program would read something else. How a model looks its tokens and
positions up is its own business, so the highest of both is fed to it, and if that fails, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tallystick.capture.tracing.kv_cache import Probe
from tallystick.errors import CaptureError


def require_known(
    model: nn.Module,
    call: Callable[..., Tensor],
    prompts: Sequence[Sequence[int]],
    padding: int,
    end_tokens: Sequence[int],
    last_position: int,
) -> None:
    """Refuse prompts with tokens, or of a length, that the model has no table entry for.

    ``last_position`` is that of the last token that is fed. Raises: CaptureError.
    """
    highest = max(padding, *(max(prompt) for prompt in prompts))
    if found(model, call, highest, last_position):
        return
    size = table_size(model)
    known = "" if size is None else f": it knows {size}, numbered from 0 to {size - 1}"
    for number, prompt in enumerate(prompts):
        if max(prompt) == highest and not found(model, call, highest, 0):
            raise CaptureError(f"prompt {number} has the token {highest}, which the model does not know{known}")
    if not found(model, call, padding, 0):
        if padding in end_tokens:
            raise CaptureError(f"the end token {padding} is one that the model does not know{known}")
        raise CaptureError(f"padding={padding} is a token that the model does not know{known}. Take another, such as 0")
    if not found(model, call, 0, last_position):
        longest = max(map(len, prompts))
        least = first_missing(lambda position: found(model, call, 0, position), last_position)
        raise CaptureError(
            f"the model has no position {last_position}, where the last token would be fed: it has {least}. The "
            f"longest prompt has {longest} tokens, and {last_position + 2 - longest} are to be added: prompt and new "
            f"tokens together may be {least + 1}"
        )


def found(model: nn.Module, call: Callable[..., Tensor], token: int, position: int) -> bool:
    """Whether the model computes something for a token at a position, or would with other numbers, too."""
    probe: Any = Probe()
    probe.positions = torch.full((1, 1), position)
    try:
        with torch.no_grad():
            call(model, torch.full((1, 1), token), probe, probe.positions)
    except (IndexError, RuntimeError) as error:
        return not isinstance(error, IndexError) and "out of" not in str(error)
    return True


def first_missing(known: Callable[[int], bool], missing: int) -> int:
    """The least position that is not known, given one that is not; position 0 is."""
    low, high = 0, missing
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if known(middle) else (low, middle)
    return high


def table_size(model: nn.Module) -> int | None:
    """How many tokens a model of ``transformers`` has embeddings for."""
    getter = getattr(model, "get_input_embeddings", None)
    table = getter() if callable(getter) else None
    return table.num_embeddings if isinstance(table, nn.Embedding) else None
