"""Convolutions and their gradients against PyTorch, over strides, paddings, dilations and groups."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lowered_operators import compare, gradients

# (input extents, channels in, channels out, kernel, stride, padding, dilation, groups)
CASES = {
    "pointwise": ((4,), 3, 2, (1,), (1,), (0,), (1,), 1),
    "padded": ((6,), 2, 3, (3,), (1,), (1,), (1,), 1),
    "over-padded": ((3,), 1, 2, (2,), (1,), (3,), (1,), 1),
    "strided": ((9,), 2, 2, (3,), (2,), (1,), (1,), 1),
    "strided, rest unused": ((8,), 1, 2, (3,), (3,), (0,), (1,), 1),
    "stride beyond the kernel": ((8,), 2, 1, (1,), (3,), (0,), (1,), 1),
    "tiled": ((6,), 2, 2, (3,), (3,), (0,), (1,), 1),
    "tiled and padded": ((7,), 2, 2, (2,), (2,), (1,), (1,), 1),
    "dilated": ((9,), 1, 2, (3,), (1,), (2,), (2,), 1),
    "dilated and strided": ((11,), 1, 2, (3,), (2,), (2,), (3,), 1),
    "dilated as strided": ((11,), 1, 2, (3,), (2,), (0,), (2,), 1),
    "grouped": ((5,), 4, 6, (2,), (1,), (0,), (1,), 2),
    "depthwise": ((5,), 3, 3, (3,), (1,), (1,), (1,), 3),
    "many phases": ((40,), 1, 1, (19,), (17,), (1,), (1,), 1),
    "plane": ((4, 5), 2, 2, (3, 2), (1, 1), (1, 0), (1, 1), 1),
    "plane, strided": ((5, 6), 2, 3, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "plane, mixed": ((6, 5), 2, 2, (2, 3), (1, 2), (0, 1), (2, 1), 2),
    "plane, tiled": ((4, 6), 1, 2, (2, 3), (2, 3), (0, 0), (1, 1), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_convolution_and_its_gradients(case: str) -> None:
    extents, channels, outputs, kernel, stride, padding, dilation, groups = CASES[case]
    torch.manual_seed(0)
    x = torch.randn(2, channels, *extents, requires_grad=True)
    weight = torch.randn(outputs, channels // groups, *kernel, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True)
    convolve = F.conv1d if len(extents) == 1 else F.conv2d
    compare(gradients(lambda x, w, b: convolve(x, w, b, stride, padding, dilation, groups)), x, weight, bias)


# (input extents, channels in, channels out, kernel, stride, padding, output padding, dilation, groups)
TRANSPOSED = {
    "plain": ((4,), 2, 3, (3,), (1,), (0,), (0,), (1,), 1),
    "strided": ((4,), 2, 3, (3,), (2,), (1,), (1,), (1,), 1),
    "tiled": ((3,), 2, 2, (2,), (2,), (0,), (0,), (1,), 1),
    "grouped": ((4,), 4, 2, (3,), (2,), (1,), (0,), (2,), 2),
    "plane": ((3, 2), 2, 2, (3, 2), (2, 1), (1, 0), (1, 0), (1, 1), 1),
}


@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolution_and_its_gradients(case: str) -> None:
    extents, channels, outputs, kernel, stride, padding, more, dilation, groups = TRANSPOSED[case]
    torch.manual_seed(0)
    x = torch.randn(2, channels, *extents, requires_grad=True)
    weight = torch.randn(channels, outputs // groups, *kernel, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True)
    convolve = F.conv_transpose1d if len(extents) == 1 else F.conv_transpose2d
    compare(gradients(lambda x, w, b: convolve(x, w, b, stride, padding, more, groups, dilation)), x, weight, bias)


def test_special_values_spread_as_far_as_their_windows() -> None:
    x = torch.zeros(1, 1, 12)
    x[0, 0, 2], x[0, 0, 6], x[0, 0, 11] = float("nan"), float("inf"), -0.0
    weight = torch.tensor([[[1.0, 2.0, -1.0]]])
    compare(lambda x, w: F.conv1d(x, w, padding=1), x, weight)
