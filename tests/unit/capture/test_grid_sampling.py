"""Sampling at the places of a grid: values, and gradients by what is sampled and by the grid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import compare, gradients


def places(*shape: int) -> Tensor:
    """Coordinates inside, outside, and on the borders, of which some are corners."""
    grid = 2.6 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1.3
    borders = torch.tensor([-1.0, 1.0, 0.0, 1.5, -1.75])
    flat = grid.view(-1)
    flat[: 2 * len(borders)] = borders.repeat(2)
    return grid.requires_grad_()


def sampled(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()


KINDS = [
    ("bilinear", "zeros", False),
    ("bilinear", "zeros", True),
    ("bilinear", "border", False),
    ("bilinear", "border", True),
    ("bilinear", "reflection", False),
    ("bilinear", "reflection", True),
    ("nearest", "zeros", True),
    ("nearest", "border", False),
    ("nearest", "reflection", True),
    ("bicubic", "zeros", False),
    ("bicubic", "border", True),
    ("bicubic", "reflection", False),
]


@pytest.mark.parametrize("mode, padding, align", KINDS)
def test_images(mode: str, padding: str, align: bool) -> None:
    must_sample_as_pytorch((mode, padding, align), sampled(1, 2, 4, 3), places(1, 3, 2, 2))


@pytest.mark.parametrize("mode, padding, align", [kind for kind in KINDS[1::2] if kind[0] != "bicubic"])
def test_volumes(mode: str, padding: str, align: bool) -> None:
    must_sample_as_pytorch((mode, padding, align), sampled(1, 2, 2, 4, 3), places(1, 2, 2, 1, 3))


@pytest.mark.parametrize("mode, padding, align", KINDS[1:6:2])
def test_an_axis_of_one_element(mode: str, padding: str, align: bool) -> None:
    must_sample_as_pytorch((mode, padding, align), sampled(1, 1, 1, 3), places(1, 2, 3, 2))


def must_sample_as_pytorch(kind: tuple[str, str, bool], x: Tensor, grid: Tensor) -> None:
    mode, padding, align = kind
    function = gradients(lambda x, g: F.grid_sample(x, g, mode=mode, padding_mode=padding, align_corners=align))
    compare(function, x, grid, rtol=2e-5, atol=2e-5)


def test_the_gradient_of_an_affine_grid() -> None:
    """A spatial transformer learns where it looks."""
    x = sampled(2, 1, 4, 4)
    theta = torch.tensor([[[0.9, 0.1, 0.05], [-0.1, 1.1, 0.0]]]).expand(2, 2, 3).contiguous().requires_grad_()

    def transformed(x: Tensor, theta: Tensor) -> Tensor:
        return F.grid_sample(x, F.affine_grid(theta, [2, 1, 4, 4], align_corners=False), align_corners=False)

    compare(gradients(transformed), x, theta, rtol=2e-5, atol=2e-5)
