"""Assignments to boolean masks that are computed: one value for every place, or one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lowered_operators import gradients, run_function
from tallystick.errors import CaptureError


def written(x: Tensor, key: object, values: object) -> Tensor:
    y = x * 1.0
    y[key] = values
    return y


def places(x: Tensor) -> Tensor:
    """A mask of five places that is computed. Shapes: (3, 4, 2) -> (3, 4)."""
    return x[..., 0].argsort(0) * 4 + torch.arange(4) < 5


# Of x (3, 4, 2), a row v (2,) and a table w (5, 2).
ASSIGNMENTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "a row": lambda x, v, w: written(x, x[..., 0] > 0, v),
    "a number with a gradient": lambda x, v, w: written(x, x > 0.5, v.sum()),
    "a number": lambda x, v, w: written(x, x > 0.5, 2.0),
    "a row at every place, in the middle": lambda x, v, w: written(x, (slice(None), x[0, :, 0] > 0), v),
    "behind an ellipsis": lambda x, v, w: written(x, (..., x[0, 0] > -9.0), v[:1]),
    "values in order": lambda x, v, w: written(x, places(x), w),
    "values in order, along an axis": lambda x, v, w: written(x, (slice(None), places(x)[0]), w[:1, None]),
    "a mask from outside": lambda x, v, w: written(x, torch.arange(12).reshape(3, 4) % 3 == 1, w[:4]),
    "index_put": lambda x, v, w: (x * 1.0).index_put((x[..., 0] > 0,), v, accumulate=True),
    "index_put_": lambda x, v, w: (x * 1.0).index_put_((x[..., 1] > 0,), v * 2),
    "a part of a tensor": lambda x, v, w: (lambda y: [y[1:].__setitem__(y[1:, :, 0] > 0, v), y][1])(x * 1.0),
    "masked_scatter": lambda x, v, w: (x * 1.0).masked_scatter(places(x).unsqueeze(-1), w),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignments_and_gradients_are_those_of_eager_pytorch(name: str) -> None:
    rng = np.random.default_rng(0)
    operands = [torch.from_numpy(rng.standard_normal(s, dtype=np.float32)) for s in ((3, 4, 2), (2,), (5, 2))]
    x, v, w = (t.requires_grad_() for t in operands)
    function = gradients(lambda x, v, w: ASSIGNMENTS[name](x, v, w) + 0.0 * (x.sum() + v.sum() + w.sum()))
    for ours, theirs in zip(run_function(function, x, v, w), function(x, v, w), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_more_values_than_places_make_nan_where_eager_pytorch_raises() -> None:
    def function(x: Tensor) -> Tensor:
        # Only as a program are there two places: PyTorch, which is asked first, sees three.
        places = x > (0.0 if isinstance(x, torch._subclasses.FakeTensor) else -1.0)
        return written(x, places, torch.tensor([5.0, 6.0, 7.0]))

    x = torch.tensor([1.0, -0.5, 2.0])
    assert np.isnan(run_function(function, x)[0]).all()
    with pytest.raises(RuntimeError, match="shape mismatch"):
        written(x, x > 0.0, torch.tensor([5.0, 6.0, 7.0]))


def test_integers_in_order_and_reading_by_a_mask_are_refused() -> None:
    def integers(x: Tensor) -> Tensor:
        y = x.long()
        y[x > 0] = torch.tensor([5, 6])
        return y

    x = torch.tensor([1.0, -0.5, 2.0])
    with pytest.raises(CaptureError, match=r"2 integers are assigned to the places of a mask at test_masks.py:\d+ "):
        run_function(integers, x)
    for select in (lambda x: x[x > 0], lambda x: torch.nonzero(x), lambda x: torch.masked_select(x, x > 0)):
        with pytest.raises(CaptureError, match="selects as many elements as data decide"):
            run_function(select, x)
