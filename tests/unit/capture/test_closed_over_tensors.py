"""What is made of a tensor that the code closes over may be written to; the tensor itself may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lowered_operators import compare, run_function
from tallystick.errors import CaptureError

HELD = torch.tensor([1.0, 2.0, 3.0])


def assigned(x: Tensor) -> Tensor:
    made = torch.tensor([4.0, 5.0, 6.0])
    made[1] = x[0]
    made[2] = 7.0
    return made


@pytest.mark.parametrize(
    "function",
    [
        lambda x: HELD.clone().add_(x),
        lambda x: HELD.clone().masked_fill_(HELD > 1, 0.5) + x,
        lambda x: (HELD + 1).mul_(2) + x,
        lambda x: torch.empty_like(HELD).copy_(x),
        lambda x: torch.zeros_like(HELD).index_copy_(0, torch.tensor([2, 0]), x[:2]),
        assigned,
    ],
)
def test_copies_of_it_are_written_to(function: Callable[[Tensor], Tensor]) -> None:
    compare(function, torch.tensor([0.25, -1.0, 9.0]))
    assert HELD.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "write", [lambda held, x: held.add_(1.0), lambda held, x: held.copy_(x), lambda held, x: held[1:].mul_(x[1:])]
)
def test_writing_to_it_is_refused_and_the_advice_works(write: Callable[[Tensor, Tensor], object]) -> None:
    held = HELD.clone()
    given = True

    def function(x: Tensor) -> Tensor:
        kept = held if given else held.clone()
        write(kept, x)
        return kept + x

    found = held.clone()
    with pytest.raises(CaptureError, match=r"test_closed_over_tensors.[\s\S]*a buffer of the model.*\.clone\(\)"):
        run_function(function, torch.ones(3))
    held.copy_(found)
    given = False
    compare(function, torch.tensor([0.25, -1.0, 9.0]))
