"""Token numbers as people give them: of Python, NumPy or PyTorch, alone or in lists."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from tallystick.errors import JobError


def token_number(value: Any) -> int | None:
    """A whole number of any library; None for anything else, also for truth values."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")) or getattr(value, "ndim", 0):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def listed(given: Any) -> list[Any]:
    """What is in something that can be gone through; else the thing itself, as arrays of no dimensions are."""
    try:
        return list(given)
    except TypeError:
        return [given]


def prompt_tokens(number: int, tokens: Any) -> list[int]:
    """The tokens of a prompt. Raises: JobError unless it is a list, or a tensor of one dimension, of token numbers."""
    found = [None] if token_number(tokens) is not None else [token_number(token) for token in listed(tokens)]
    if not found:
        raise JobError(f"prompt {number} has no tokens: begin it with one, such as the model's start token")
    good = [token for token in found if token is not None and token >= 0]
    if len(good) != len(found):
        raise JobError(f"prompt {number} is not a list of token numbers: give a tokenizer to write prompts as text")
    return good


def end_tokens(given: Any) -> tuple[int, ...]:
    """The tokens that end a row, each once, in their order. Raises: JobError for what is no token."""
    if given is None:
        return ()
    found: dict[int, None] = {}
    for value in [given] if isinstance(given, str | bytes) else listed(given):
        token = token_number(value)
        if token is None or token < 0:
            raise JobError(
                f"end_token={given!r}: {value!r} is no token. Give the number of a token, a list of them, or None if "
                "the model has none"
            )
        found[token] = None
    return tuple(found)


def padding_token(given: Any, ends: Sequence[int]) -> int:
    """What rows are filled with: the token given, the first end token, or 0. Raises: JobError for what is no token."""
    if given is None:
        return ends[0] if ends else 0
    token = token_number(given)
    if token is None or token < 0:
        raise JobError(f"padding={given!r} is no token: give the number of one, which may be any, such as 0")
    return token
