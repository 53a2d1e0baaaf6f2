"""Views, joins, creation, reductions and products against PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lowered_operators import capture_function, run_function
from special_values import assert_same_bits, floats

VIEWS: dict[str, Callable] = {
    "transpose": lambda x: x.transpose(0, 2),
    "permute and merge": lambda x: x.permute(1, 0, 2).reshape(6, 4),
    "merge apart": lambda x: x.transpose(0, 1).reshape(-1),
    "interleaved reshape": lambda x: x.permute(2, 0, 1).reshape(3, 8),
    "reshape of a sum": lambda x: (x.permute(2, 0, 1) + 1).reshape(3, 8).t() * 2,
    "split merged": lambda x: x.reshape(6, 4).reshape(2, 12)[:, 3:7],
    "slice of merged": lambda x: x.permute(1, 0, 2).reshape(6, 4)[1:4],
    "slice": lambda x: x[:, 1:, ::2],
    "negative slice": lambda x: x[-1:, :-1],
    "select": lambda x: x[:, 1],
    "select last": lambda x: x[..., -1],
    "flip": lambda x: x.flip(0, 2),
    "flip merged": lambda x: x.permute(1, 0, 2).reshape(6, 4).flip(0),
    "unsqueeze and expand": lambda x: x.unsqueeze(1).expand(2, 5, 3, 4) + 0,
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "diagonal above": lambda x: x.diagonal(1, 1, 2),
    "diagonal below": lambda x: x.diagonal(-1, 0, 2) + 1,
    "unfold": lambda x: x.unfold(2, 3, 1),
    "unfold in steps": lambda x: x.unfold(2, 2, 2),
    "as_strided": lambda x: torch.as_strided(x.contiguous(), (3, 2), (4, 3), 1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=2.5),
    "pad and cut": lambda x: F.pad(x, (-1, 2), value=0.5),
    "pad after all is cut": lambda x: F.pad(x, (-4, 3, 1, 0), value=0.5),
    "pad of a pad": lambda x: F.pad(F.pad(x, (1, 1), value=1.0), (1, 1), value=2.0),
    "pad of a product": lambda x: F.pad(x * 2 + 1, (1, 1, 1, 1)) * 3,
    "pad of a flipped slice": lambda x: F.pad(x.flip(2)[..., 1:], (2, 0)),
    "cat": lambda x: torch.cat([x, x * 2, x[:, :1]], 1),
    "cat of many": lambda x: torch.cat([x[..., i % 4 : i % 4 + 1] + i for i in range(21)], 2),
    "cat of merged": lambda x: torch.cat([x.permute(1, 0, 2).reshape(6, 4), x.reshape(6, 4)], 0),
    "cat of heads": lambda x: torch.cat([x.permute(1, 0, 2).reshape(3, 8), (x + 1).permute(1, 0, 2).reshape(3, 8)], 1),
    "cat of dtypes": lambda x: torch.cat([x.int(), x], 0),
    "stack": lambda x: torch.stack([x, -x, x + 1], 1),
    "split": lambda x: [part * (i + 1) for i, part in enumerate(x.split(2, 2))],
    "chunk": lambda x: x.chunk(3, 1)[2] * 2,
    "unbind": lambda x: [part + 1 for part in x.unbind(1)],
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat with new dimensions": lambda x: x[0, 0].repeat(2, 3),
    "tile": lambda x: x.tile(2, 2),
    "roll": lambda x: x.roll(1, 2),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(1),
    "tril below": lambda x: x.tril(-1),
    "slice_scatter": lambda x: torch.slice_scatter(x, x[:, :1] * 5, 1, 1, 2),
    "slice_scatter in steps": lambda x: torch.slice_scatter(x, x[..., :2] * 5, 2, 1, 4, 2),
    "select_scatter": lambda x: torch.select_scatter(x, x[:, 0] * 5, 1, 2),
    "no elements": lambda x: torch.cat([x[:, :0], x], 1) + x[:, :0].sum(),
    "scalar": lambda x: x[0, 0, 0] * 2,
    "one element": lambda x: (x[:1, :1, :1] * 2).reshape(1, 1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_and_joins(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4)
    want = VIEWS[name](x)
    want = want if isinstance(want, list) else [want]
    for got, expected in zip(run_function(VIEWS[name], x), want, strict=True):
        assert_same_bits(got, expected.numpy())


def test_views_make_no_kernels_of_their_own() -> None:
    def chain(x: torch.Tensor) -> torch.Tensor:
        y = x.permute(1, 0, 2)[..., 1:].flip(2).unsqueeze(0).expand(2, 3, 2, 3)
        return F.pad(y, (1, 1)) + 1

    assert len(capture_function(chain, torch.randn(2, 3, 4))[1].program.kernels) == 1


CREATIONS: dict[str, Callable] = {
    "arange": lambda x: torch.arange(5) + x[0].int(),
    "arange in steps": lambda x: torch.arange(7, -3, -2) + x[0].int(),
    "arange of floats": lambda x: torch.arange(0.5, 3.0, 0.25) * x[0],
    "full": lambda x: torch.full((2, 3), 1.7) * x[0],
    "zeros and ones": lambda x: torch.zeros(3) + torch.ones(3) * x[0],
    "like": lambda x: torch.zeros_like(x) + torch.ones_like(x) * 2 + torch.full_like(x, 0.3),
    "new": lambda x: x.new_zeros(2) + x.new_ones(2) * 3 + x.new_full((2,), 2.5),
    "eye": lambda x: torch.eye(3) * x[0],
    "causal mask": lambda x: torch.ones(4, 4, dtype=torch.bool).tril() & (x[0] > -100),
    "linspace": lambda x: torch.linspace(0.0, 1.0, 5) + x[0] * 0,
    "one hot": lambda x: F.one_hot(torch.tensor([1, 0, 2]), 4) * x[0].int(),
}


@pytest.mark.parametrize("name", CREATIONS)
def test_creation(name: str) -> None:
    x = torch.tensor([2.0, 3.0])
    (got,) = run_function(CREATIONS[name], x)
    np.testing.assert_allclose(got, CREATIONS[name](x).numpy(), rtol=1e-7)


# Sums differ in their order, so by a few roundings; extremes and everything on integers agree exactly.
REDUCTIONS: dict[str, Callable] = {
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(-1),
    "sum of columns": lambda x: x.sum(0),
    "sum, kept": lambda x: x.sum((0, 2), keepdim=True),
    "sum of permuted": lambda x: x.permute(2, 0, 1).sum(0),
    "mean": lambda x: x.mean((0, 1)),
    "mean of all": lambda x: x.mean(),
    "prod": lambda x: x.prod(2),
    "prod of all": lambda x: (x * 1.5).prod(),
    "variance": lambda x: x.var(2),
    "standard deviation": lambda x: x.std((0, 1), correction=0),
    "norm": lambda x: x.norm(),
    "softmax": lambda x: x.softmax(-1),
    "softmax of columns": lambda x: x.softmax(0),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(2),
    "cumsum": lambda x: x.cumsum(1),
    "cumsum of the last": lambda x: (x * 2).cumsum(-1) + 1,
    "cumprod": lambda x: x.cumprod(0),
    "layer norm": lambda x: F.layer_norm(x, (5,)),
    "rms norm": lambda x: F.rms_norm(x, (5,)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 1, 5), (3, 37, 5)])
def test_reductions(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    x = torch.randn(shape)
    (got,) = run_function(REDUCTIONS[name], x)
    want = REDUCTIONS[name](x.double() if "prod" in name else x).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


EXTREMES: dict[str, Callable] = {
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin((0, 1)),
    "max": lambda x: x.max(),
    "min": lambda x: x.min(),
    "max with index": lambda x: list(x.max(1)),
    "min with index": lambda x: list(x.min(0, keepdim=True)),
    "argmax": lambda x: x.argmax(1),
    "argmax of all": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(0, keepdim=True),
    "any": lambda x: (x > 2).any(1),
    "all": lambda x: (x > -2).all(),
    "any number": lambda x: x.any(0),
    "sum of truths": lambda x: (x > 0).sum(1),
    "sum of integers": lambda x: x.nan_to_num(0).clamp(-9, 9).int().sum(1),
    "prod of integers": lambda x: x.nan_to_num(0).clamp(-9, 9).int().prod(0),
    "cumsum of integers": lambda x: (x > 0).cumsum(1),
    "amax of integers": lambda x: x.nan_to_num(0).clamp(-9, 9).int().amax(1),
    "argmax of integers": lambda x: x.nan_to_num(0).clamp(-2, 2).int().argmax(1),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_and_counts(name: str) -> None:
    """With ties, NaN in some rows, rows of infinities, and rows longer than the lanes of a fold."""
    torch.manual_seed(2)
    x = torch.randn(6, 40).round()
    x[1, 7], x[1, 20], x[2], x[3] = float("nan"), float("nan"), float("-inf"), float("inf")
    want = EXTREMES[name](x)
    for got, expected in zip(run_function(EXTREMES[name], x), want if isinstance(want, list) else [want], strict=True):
        assert_same_bits(got + 0, expected.numpy() + 0)  # of two zeros either may be the larger


def test_extremes_of_special_values() -> None:
    x = floats()
    for kept in (x, x[~x.isnan()], x[x.isfinite()]):
        for function in (torch.amax, torch.amin):
            (got,) = run_function(lambda x, f=function: f(x, 0), kept)
            np.testing.assert_array_equal(got, function(kept, 0).numpy())


PRODUCTS: dict[str, Callable] = {
    "matrices": lambda a, b, c: a @ b,
    "transposed": lambda a, b, c: b.t() @ a.t(),
    "of a sum": lambda a, b, c: (a + 1) @ (b * 2),
    "addmm": lambda a, b, c: torch.addmm(c, a, b),
    "addmm, scaled": lambda a, b, c: torch.addmm(c, a, b, beta=0.5, alpha=2.0),
    "linear": lambda a, b, c: F.linear(a, b.t(), c),
    "batched": lambda a, b, c: torch.bmm(a.expand(2, 3, 7), b.expand(2, 7, 4)),
    "broadcast batch": lambda a, b, c: torch.matmul(a.expand(2, 3, 7), b),
    "matrix and vector": lambda a, b, c: b.t() @ a[0],
    "vectors": lambda a, b, c: a[0] @ a[1],
    "outer": lambda a, b, c: torch.outer(a[:, 0], c),
    "inner size 1": lambda a, b, c: a[:, :1] @ b[:1],
    "einsum": lambda a, b, c: torch.einsum("mk,kn->nm", a, b),
    "heads": lambda a, b, c: torch.einsum("thd,shd->hts", b.view(7, 2, 2), b.view(7, 2, 2) + 1),
    "of integers": lambda a, b, c: (a * 3).int() @ (b * 3).int(),
    "of constants": lambda a, b, c: torch.ones(2, 3) @ a,
    "of a mask": lambda a, b, c: torch.ones(3, 3).tril() @ a,
    "in bfloat16": lambda a, b, c: (a.bfloat16() @ b.bfloat16()).float(),
    "with an epilogue": lambda a, b, c: [(h := a @ b + c), F.gelu(h) * 2],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str) -> None:
    torch.manual_seed(3)
    operands = torch.randn(3, 7), torch.randn(7, 4), torch.randn(4)
    want = PRODUCTS[name](*operands)
    tolerance = 1e-2 if name == "in bfloat16" else 2e-6  # an eighth bit after another order of summing
    for got, expected in zip(
        run_function(PRODUCTS[name], *operands), want if isinstance(want, list) else [want], strict=True
    ):
        np.testing.assert_allclose(got, expected.numpy(), rtol=tolerance, atol=tolerance)
