"""Operators that are written out in terms of others: normalisations, losses, activations, slices, attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lowered_operators import compare, gradients, run_function

TARGET = torch.tensor([2, 0, 1, -100])


def lstm(x: Tensor, *weights: Tensor) -> Tensor:
    """One layer, two hidden units. Shape x (N, T, 4)."""
    start = torch.zeros(1, x.shape[0], 2)
    return torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, True)[0]


CASES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    # normalisations
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), ((3, 5), (5,), (5,))),
    "layer_norm over two": (lambda x: F.layer_norm(x, (2, 5)), ((3, 2, 5),)),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), ((2, 4, 3), (4,), (4,))),
    "instance_norm": (lambda x: F.instance_norm(x), ((2, 3, 4),)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), ((4, 3, 2), (3,), (3,))),
    "batch_norm of rows": (lambda x: F.batch_norm(x, None, None, training=True), ((5, 3),)),
    "rms_norm": (lambda x, w: F.rms_norm(x, (5,), w), ((3, 5), (5,))),
    "weight_norm": (lambda v, g: torch._weight_norm(v, g, 0), ((4, 3, 2), (4, 1, 1))),
    "weight_norm, last": (lambda v, g: torch._weight_norm(v, g, 2), ((4, 3, 2), (1, 1, 2))),
    "lstm": (lstm, ((2, 3, 4), (8, 4), (8, 2), (8,), (8,))),
    "normalize": (lambda x: F.normalize(x, dim=-1), ((3, 5),)),
    "var": (lambda x: x.var(1), ((3, 5),)),
    "std of all": (lambda x: x.std(), ((3, 5),)),
    "var_mean": (lambda x: sum(torch.var_mean(x, (0, 2), correction=0, keepdim=True)), ((3, 2, 4),)),
    "mean": (lambda x: x.mean(), ((3, 5),)),
    "mean over two": (lambda x: x.mean((0, -1)), ((3, 2, 4),)),
    "norm": (lambda x: torch.linalg.vector_norm(x, dim=1), ((3, 5),)),
    # softmax and losses
    "softmax": (lambda x: x.softmax(0), ((4, 3),)),
    "log_softmax": (lambda x: x.log_softmax(-1), ((4, 3),)),
    "logsumexp": (lambda x: x.logsumexp(1), ((4, 3),)),
    "cross_entropy": (lambda x: F.cross_entropy(x, TARGET), ((4, 3),)),
    "cross_entropy, summed": (lambda x: F.cross_entropy(x, TARGET, reduction="sum"), ((4, 3),)),
    "cross_entropy, each": (lambda x: F.cross_entropy(x, TARGET, reduction="none"), ((4, 3),)),
    "cross_entropy, ignoring a class": (lambda x: F.cross_entropy(x, TARGET.abs() % 3, ignore_index=1), ((4, 3),)),
    "cross_entropy, weighted": (lambda x: F.cross_entropy(x, TARGET, torch.tensor([1.0, 2.0, 0.5])), ((4, 3),)),
    "cross_entropy, smoothed": (lambda x: F.cross_entropy(x, TARGET, label_smoothing=0.1), ((4, 3),)),
    "cross_entropy of planes": (lambda x: F.cross_entropy(x, TARGET.view(1, 2, 2)), ((1, 3, 2, 2),)),
    "cross_entropy of one": (lambda x: F.cross_entropy(x, torch.tensor(1)), ((3,),)),
    "cross_entropy of probabilities": (lambda x, y: F.cross_entropy(x, y.softmax(1)), ((4, 3), (4, 3))),
    "mse_loss": (lambda x, y: F.mse_loss(x, y), ((4, 3), (4, 3))),
    "smooth_l1_loss": (lambda x, y: F.smooth_l1_loss(x, y), ((4, 3), (4, 3))),
    "huber_loss": (lambda x, y: F.huber_loss(x, y, delta=0.5), ((4, 3), (4, 3))),
    "l1_loss": (lambda x, y: F.l1_loss(x, y), ((4, 3), (4, 3))),
    "binary cross-entropy": (lambda x, y: F.binary_cross_entropy_with_logits(x, y), ((4, 3), (4, 3))),
    "kl_div": (lambda x, y: F.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"), ((4, 3), (4, 3))),
    # activations
    "gelu": (F.gelu, ((9,),)),
    "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), ((9,),)),
    "silu": (F.silu, ((9,),)),
    "mish": (F.mish, ((9,),)),
    "elu": (F.elu, ((9,),)),
    "selu": (F.selu, ((9,),)),
    "celu": (F.celu, ((9,),)),
    "leaky_relu": (F.leaky_relu, ((9,),)),
    "softplus": (lambda x: F.softplus(x * 30), ((9,),)),
    "logsigmoid": (F.logsigmoid, ((9,),)),
    "hardtanh": (F.hardtanh, ((9,),)),
    "hardswish": (lambda x: F.hardswish(x * 4), ((9,),)),
    "hardsigmoid": (lambda x: F.hardsigmoid(x * 4), ((9,),)),
    "relu6": (lambda x: F.relu6(x * 8), ((9,),)),
    "prelu": (lambda x, w: F.prelu(x, w), ((2, 3), (3,))),
    "glu": (F.glu, ((2, 6),)),
    "softsign": (F.softsign, ((9,),)),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), ((9,),)),
    "maximum": (lambda x, y: torch.maximum(x, y), ((9,), (9,))),
    # parts
    "select": (lambda x: x[:, 1], ((3, 4),)),
    "slice": (lambda x: x[1:3, ::2], ((4, 5),)),
    "slice from the end": (lambda x: x[-2:], ((4, 5),)),
    "split": (lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1) * 2, ((3, 4),)),
    "chunk": (lambda x: sum(part.square() for part in x.chunk(2)), ((4, 5),)),
    "stack": (lambda x, y: torch.stack([x, y], 1), ((3,), (3,))),
    "roll": (lambda x: x.roll(1, 0), ((3, 2),)),
    "repeat": (lambda x: x.repeat(2, 3), ((2, 2),)),
    "pad": (lambda x: F.pad(x, (1, 2), value=3.0), ((2, 3),)),
    "reflect": (lambda x: F.pad(x, (2, 1), mode="reflect"), ((1, 2, 4),)),
    "unfold": (lambda x: x.unfold(0, 3, 2), ((7,),)),
    "flip": (lambda x: x.flip(0), ((3, 2),)),
    "tril": (lambda x: x.tril(), ((3, 3),)),
    "diagonal": (lambda x: x.diagonal(), ((3, 3),)),
    "lower diagonal": (lambda x: x.diagonal(-1, 2, 0), ((3, 2, 4),)),
    "upper diagonal": (lambda x: x.diagonal(1), ((2, 4),)),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 2.0), ((3, 3),)),
    "nearest upsampling": (lambda x: F.interpolate(x, scale_factor=2), ((1, 2, 2, 3),)),
    "nearest, uneven": (lambda x: F.interpolate(x, size=(3, 4)), ((1, 2, 2, 3),)),
    "nearest, fewer": (lambda x: F.interpolate(x, scale_factor=0.6), ((1, 1, 5, 4),)),
    "bilinear to corners": (
        lambda x: F.interpolate(x, size=(3, 5), mode="bilinear", align_corners=True),
        ((1, 2, 2, 3),),
    ),
    "bilinear upsampling": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), ((1, 1, 2, 3),)),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), ((1, 4, 2, 2),)),
    # products
    "linear": (F.linear, ((2, 3, 4), (5, 4), (5,))),
    "einsum": (lambda x, y: torch.einsum("bij,bkj->bik", x, y), ((2, 3, 4), (2, 5, 4))),
    "dot": (lambda x, y: x.dot(y), ((5,), (5,))),
    "outer": (lambda x, y: torch.outer(x, y), ((3,), (2,))),
    "matrix and vector": (lambda x, y: x @ y, ((3, 4), (4,))),
    "baddbmm": (lambda x, y, z: torch.baddbmm(x, y, z, beta=0.5, alpha=2), ((2, 3, 2), (2, 3, 4), (2, 4, 2))),
    "cosine_similarity": (lambda x, y: F.cosine_similarity(x, y), ((3, 4), (3, 4))),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)),
    ),
    "attention to other keys": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
        ((2, 4, 3), (2, 2, 3), (2, 2, 5)),
    ),
    "attention with a mask": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.tensor([[True, False], [True, True]])),
        ((1, 2, 4), (1, 2, 4), (1, 2, 4)),
    ),
    "grouped attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        ((1, 4, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients(case: str) -> None:
    function, shapes = CASES[case]
    torch.manual_seed(len(case))
    operands = [torch.randn(shape, requires_grad=True) for shape in shapes]
    compare(gradients(function), *operands, rtol=1e-5, atol=1e-5)


def test_softmax_of_special_values() -> None:
    infinite = float("inf")
    rows = [[1.0, -infinite, 2.0], [-infinite] * 3, [infinite, 0.0, 1.0], [float("nan"), 1.0, 2.0], [90.0, -90.0, 1e30]]
    compare(lambda x: x.softmax(1), torch.tensor(rows))
    compare(lambda x: x.log_softmax(1), torch.tensor(rows))


def test_the_largest_elements_and_their_places() -> None:
    infinite = float("inf")
    rows = torch.tensor([[1.0, 5.0, 3.0, 4.0], [-infinite, 2.0, -infinite, infinite], [0.5, float("nan"), 9.0, -1.0]])
    compare(lambda x: list(x.topk(2)), rows)
    (indices,) = run_function(lambda x: x.topk(4).indices, rows)
    assert indices[1].tolist() == [3, 1, 0, 2], "every place once"
    compare(lambda x: list(x.t().topk(2, 0)), rows)
    compare(gradients(lambda x: x.topk(2).values), torch.randn(3, 5, requires_grad=True))
    (indices,) = run_function(lambda x: x.topk(3).indices, torch.zeros(2, 4))
    assert indices.tolist() == [[0, 1, 2], [0, 1, 2]], "the first of equals"


def test_attention_of_a_row_that_sees_nothing_is_zero() -> None:
    mask = torch.tensor([[True, False], [False, False]])
    q, k, v = torch.randn(3, 1, 1, 2, 4).unbind()
    compare(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask), q, k, v)


def test_batch_norm_keeps_running_statistics() -> None:
    norm = nn.BatchNorm1d(3, momentum=0.3)
    x = torch.randn(4, 3, 2) * 3 + 1

    def statistics(x: Tensor) -> list[Tensor]:
        mean, var = torch.zeros(3), torch.ones(3)
        F.batch_norm(x, mean, var, training=True, momentum=0.3)
        return [mean, var]

    compare(statistics, x)
    evaluated = norm.eval()
    compare(lambda x, w: F.batch_norm(x, torch.ones(3), torch.full((3,), 2.0), w), x, evaluated.weight.detach())


def test_gradient_of_batch_norm_in_evaluation() -> None:
    mean, var = torch.tensor([1.0, 0.5, -1.0]), torch.tensor([2.0, 1.0, 0.5])
    x, w = torch.randn(4, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    compare(gradients(lambda x, w: F.batch_norm(x, mean, var, w)), x, w)


def test_philox_in_integer_instructions_is_philox() -> None:
    def draw(step: Tensor) -> Tensor:
        return torch.stack(torch.ops.tallystick.philox(step, 5, (7 << 32) | 9, 3))

    (drawn,) = run_function(draw, torch.tensor([11]), step=11)
    assert drawn.tolist() == draw(torch.tensor([11])).tolist()
