"""Pools of volumes, resampling, distances, selections and activations that are written out our way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import compare, gradients, run_function
from tallystick.errors import CaptureError

MASK = torch.tensor([[True, False, True], [False, False, True]])
INDEX = torch.tensor([[3, -1], [0, 3]])

CASES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    # pools
    "max_pool3d": (lambda x: F.max_pool3d(x, (2, 3, 2), 1, (1, 1, 0)), ((1, 2, 3, 4, 5),)),
    "max_pool3d, dilated": (lambda x: F.max_pool3d(x, 2, 2, dilation=(1, 2, 1), ceil_mode=True), ((2, 4, 5, 3),)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2, (1, 2, 2), (1, 0, 1)), ((1, 2, 3, 4, 5),)),
    "avg_pool3d, no padding": (
        lambda x: F.avg_pool3d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        ((2, 4, 5, 3),),
    ),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, (2, 3, 2)), ((1, 2, 3, 4, 5),)),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 3), ((2, 3, 7),)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (2, 3)), ((2, 3, 5, 4),)),
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, (2, 1, 2)), ((1, 2, 3, 2, 5),)),
    # resampling
    "linear": (lambda x: F.interpolate(x, 7, mode="linear"), ((1, 2, 4),)),
    "trilinear": (lambda x: F.interpolate(x, (3, 5, 2), mode="trilinear", align_corners=True), ((1, 1, 2, 3, 4),)),
    "bicubic": (lambda x: F.interpolate(x, (5, 3), mode="bicubic"), ((1, 2, 3, 4),)),
    "bicubic by a factor": (lambda x: F.interpolate(x, scale_factor=1.7, mode="bicubic"), ((1, 2, 3, 4),)),
    "antialiased": (lambda x: F.interpolate(x, (3, 2), mode="bilinear", antialias=True), ((1, 2, 5, 7),)),
    "cubic, antialiased": (lambda x: F.interpolate(x, (3, 2), mode="bicubic", antialias=True), ((1, 2, 5, 7),)),
    "nearest-exact": (lambda x: F.interpolate(x, (5, 3), mode="nearest-exact"), ((1, 2, 3, 4),)),
    "nearest of volumes": (lambda x: F.interpolate(x, (3, 5, 2), mode="nearest"), ((1, 1, 2, 3, 4),)),
    # distances
    "cdist": (lambda x, y: torch.cdist(x, y), ((2, 3, 4), (2, 5, 4))),
    "cdist, 1": (lambda x, y: torch.cdist(x, y, 1.0), ((3, 4), (5, 4))),
    "cdist, infinity": (lambda x, y: torch.cdist(x, y, float("inf")), ((3, 4), (5, 4))),
    "cdist, 3": (lambda x, y: torch.cdist(x, y, 3.0), ((3, 4), (5, 4))),
    "pdist": (lambda x: F.pdist(x), ((4, 3),)),
    # selections
    "take": (lambda x: torch.take(x, INDEX), ((2, 3),)),
    "put": (lambda x, y: x.put(INDEX, y, accumulate=True), ((2, 3), (2, 2))),
    "masked_scatter": (lambda x, y: x.masked_scatter(MASK, y), ((2, 3), (5,))),
    "replication_pad": (lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"), ((1, 2, 3, 4),)),
    "replication_pad, cutting": (lambda x: F.pad(x, (-1, 2), mode="replicate"), ((1, 2, 4),)),
    "addbmm": (lambda x, a, b: torch.addbmm(x, a, b, beta=0.5, alpha=2.0), ((3, 4), (2, 3, 5), (2, 5, 4))),
    "bilinear": (lambda x, y, w, b: F.bilinear(x, y, w, b), ((3, 2), (3, 4), (5, 2, 4), (5,))),
    "three places": (
        lambda x, y: x.index_put((torch.tensor([1, 0, 1]), torch.tensor([-1, 2, 2]), torch.tensor([0, 1, 0])), y, True),
        ((2, 3, 2), (3,)),
    ),
    # gradients of our own
    "renorm": (lambda x: torch.renorm(x, 2.0, 1, 1.2), ((3, 4),)),
    "renorm, other norm": (lambda x: x.renorm(p=1, dim=-1, maxnorm=2.5), ((3, 2, 4),)),
    "index_fill": (lambda x, v: torch.index_fill(x, 1, torch.tensor([2, 0, 2]), v), ((3, 4), ())),
    "index_fill of a number": (lambda x, v: x.index_fill(0, torch.tensor([0, 0]), v), ((), ())),
    "linear_cross_entropy": (
        lambda x, w: F.linear_cross_entropy(
            x, w, torch.tensor([1, 0, 3]), options=torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
        ),
        ((3, 5), (4, 5)),
    ),
    # activations
    "hardshrink": (lambda x: F.hardshrink(x, 0.4), ((3, 5),)),
    "softshrink": (lambda x: F.softshrink(x, 0.4), ((3, 5),)),
    "multi_margin_loss": (lambda x: F.multi_margin_loss(x, torch.tensor([1, 0, 3])), ((3, 4),)),
    "multi_margin_loss, squared": (
        lambda x: F.multi_margin_loss(x, torch.tensor([1, 0, 3]), p=2, weight=torch.arange(4.0), reduction="sum"),
        ((3, 4),),
    ),
    "multilabel_margin_loss": (
        lambda x: F.multilabel_margin_loss(x, torch.tensor([[1, 3, -1, 0], [0, -1, 2, 2], [-1, 0, 0, 0]])),
        ((3, 4),),
    ),
    "round decimals": (lambda x: x.round(decimals=2), ((3, 4),)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    torch.manual_seed(5)
    function, shapes = CASES[name]
    compare(gradients(function), *(torch.randn(shape, requires_grad=True) for shape in shapes), rtol=1e-5, atol=3e-6)


def test_a_gradient_of_one_element_reaches_every_second_place() -> None:
    """The bounds of a single element count when axes are joined."""
    torch.manual_seed(6)
    x, weight = torch.randn(1, 1, 5, 5, requires_grad=True), torch.randn(1, 1, 3, 3, requires_grad=True)
    compare(gradients(lambda x, w: F.conv2d(x, w, dilation=2)), x, weight, atol=1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_of_embeddings(mode: str) -> None:
    indices, offsets = torch.tensor([3, 1, 1, 0, 2]), torch.tensor([0, 2, 2])
    weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    compare(gradients(lambda w: F.embedding_bag(indices, w, offsets, mode=mode, padding_idx=1)), weight)
    if mode == "sum":
        weights = torch.arange(5.0, requires_grad=True)
        compare(
            gradients(lambda w, s: F.embedding_bag(indices, w, offsets, mode=mode, per_sample_weights=s)),
            weight,
            weights,
        )


def test_the_first_of_equals_is_pooled() -> None:
    """Over depth too: the pool of planes and that of columns agree with one of volumes."""
    x = torch.zeros(1, 1, 3, 3, 3)
    x[0, 0, 1, 2, 0], x[0, 0, 2, 0, 0] = 1.0, 1.0
    compare(lambda x: F.max_pool3d_with_indices(x, 3, 1, 1), x, rtol=0, atol=0)
    compare(lambda x: F.adaptive_max_pool3d_with_indices(x, 2), x - float("inf"), rtol=0, atol=0)


def test_coinciding_rows_have_no_slope() -> None:
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    for p in (1.0, 1.5, 2.0):
        compare(gradients(lambda x, p=p: F.pdist(x, p)), x)


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (torch.linalg.pinv, "iterate until the data say"),
        (lambda x: torch.igamma(x + 1.0, x + 1.0), "no measured sequence of instructions"),
        (lambda x: x.double() * 2, "float64"),
    ],
    ids=["pseudoinverse", "gamma", "double"],
)
def test_what_is_refused_says_where_and_what_to_do(function: Callable[[Tensor], Tensor], advice: str) -> None:
    with pytest.raises(CaptureError, match=advice) as refusal:
        run_function(lambda x: function(x).real.float().sum(), torch.eye(3))
    assert "test_written_out.py" in str(refusal.value)
