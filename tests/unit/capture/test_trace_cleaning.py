"""What sharing and simplifying must not confuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lowered_operators import capture_function, run_function
from tallystick.errors import CaptureError


def test_zeros_of_both_signs_stay_apart() -> None:
    (signs,) = run_function(
        lambda x: torch.stack([x * torch.full((2,), 0.0), x * torch.full((2,), -0.0)]), torch.ones(2)
    )
    assert np.signbit(signs).tolist() == [[False, False], [True, True]]


def test_numbers_and_truths_stay_apart() -> None:
    def both(x: Tensor) -> list[Tensor]:
        return [torch.full((2,), 1) + x.long(), torch.full((2,), True) & (x > 0)]

    numbers, truths = run_function(both, torch.ones(2))
    assert numbers.tolist() == [2, 2] and truths.tolist() == [True, True] and truths.dtype == np.bool_


def test_equal_work_is_done_once() -> None:
    traced, _ = capture_function(lambda x: (x + 1).sin() * (x + 1).sin(), torch.ones(3))
    targets = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert targets.count(torch.ops.aten.sin.default) == 1 and targets.count(torch.ops.aten.add.Tensor) == 1


@pytest.mark.parametrize("rename", [Tensor.clone, Tensor.detach, Tensor.contiguous, lambda x: x.view(3), Tensor.float])
def test_operators_that_only_rename_are_gone(rename) -> None:
    traced, _ = capture_function(lambda x: rename(x.cos()).sin(), torch.ones(3))
    assert len([node for node in traced.graph.nodes if node.op == "call_function"]) == 2


def test_strides_are_told_from_memory() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    (windows,) = run_function(lambda x: x.as_strided((4, 3), (1, 1)) * 1, x)
    assert windows.tolist() == x.as_strided((4, 3), (1, 1)).tolist()
    (windows,) = run_function(lambda x: x.t().contiguous().as_strided((5, 2), (1, 1)) * 1, x)
    assert windows.tolist() == x.t().contiguous().as_strided((5, 2), (1, 1)).tolist()
    (windows,) = run_function(lambda x: (x.t() * 1).as_strided((5, 2), (1, 1)) * 1, x)
    assert windows.tolist() == (x.t() * 1).as_strided((5, 2), (1, 1)).tolist()
    (windows,) = run_function(lambda x: x[1:, 1:].as_strided((3, 2), (2, 1), 0) * 1, x)
    assert windows.tolist() == x[1:, 1:].as_strided((3, 2), (2, 1), 0).tolist()
    with pytest.raises(CaptureError, match="does not fill"):
        run_function(lambda x: torch.empty_strided((2,), (3,)).copy_(x[0, :2]).as_strided((4,), (1,)) * 1, x)


def test_in_place_changes_through_views_are_followed() -> None:
    def change(x: Tensor) -> Tensor:
        y = x.clone()
        y[1:].mul_(2.0)
        y.t()[0] += 10.0
        return y

    x = torch.arange(6.0).reshape(3, 2)
    (changed,) = run_function(change, x)
    assert changed.tolist() == change(x).tolist()


def test_an_empty_part_adds_nothing_to_a_concatenation() -> None:
    """A cache of keys before its first token is an empty tensor, which no program could hold."""
    x = torch.arange(6.0).reshape(2, 3)
    empty = torch.empty(0)
    traced, _ = capture_function(lambda x: torch.cat([empty, x * 2], 0), x)
    assert all(0 not in made.shape for made in traced.inputs)
    (joined,) = run_function(lambda x: torch.cat([empty, x, empty, x + 1], 0), x)
    assert joined.tolist() == torch.cat([x, x + 1]).tolist()
