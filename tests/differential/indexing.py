"""Reading and choosing by indices: constant, negative, boolean, computed, and now and then out of range."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

SAME = (
    "x[torch.arange(x.shape[0])]",
    "x[[-1, 0, 1, 2]]",
    "x[..., -1:] + x",
    "x[:, torch.arange(x.shape[1] - 1, -1, -1)]",
    "x.gather(-1, x.argsort(-1))",
    "x.gather(-1, torch.zeros_like(x).long())",
    "x.index_select(-1, torch.arange(x.shape[-1]).flip(0))",
    "torch.take_along_dim(x, x.argmax(-1, keepdim=True), -1) + x",
    "x.take(torch.arange(x.numel())).view(x.shape)",
    "x.topk(1, -1).values + x",
    "torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0) * x",
    "x[..., torch.tensor([True] * x.shape[-1])]",
    "x[..., torch.arange(x.shape[-1]) % 2 == 0].sum(-1, keepdim=True) + x",
    "x[torch.tensor([True, False, True, True])].sum(0) + x",
    "x[x.flatten(1).sum(1) > -100]",
    "x[x > 0].sum() + x",
    "x.masked_select(x > 0).mean() * 0.1 + x",
    "torch.nonzero(x > 0).shape[0] * 0.01 + x",
    "x.index_add(0, torch.tensor([0, 1, 0, 1]), x.detach())",
    "torch.zeros_like(x).index_add(0, torch.tensor([0, 0, 1, 1]), x) + x",
    "torch.zeros_like(x).scatter_reduce(0, torch.zeros_like(x).long(), x, 'amax') + x",
    "x.index_fill(-1, torch.tensor([0]), 0.2)",
    "torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0]), x) * 0.1 + x",
    "torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])) + x",
    "x.new_zeros(5)[(x > 0).long()] + x",
    "torch.tensor([0.1, 0.5, -0.3])[(x > 0).long() + (x > 1).long()] + x",
    "torch.tensor([0.1, 0.5])[-(x > 0).long()] + x",
    "x.kthvalue(1, -1).values.unsqueeze(-1) + x",
    "F.one_hot((x > 0).long(), 2).float().mean(-1) + x",
    "torch.where(x > 0)[0].float().mean() * 0 + x",
    "x.unique().sum() + x",
    "x.count_nonzero(-1).unsqueeze(-1) * 0.1 + x",
    "torch.histc(x.detach(), 4, -2, 2)[0] * 0.1 + x",
    "x[(x > 0).any(-1)].mean() + x",
    "x[0].expand_as(x) + x",
    "x[..., None, 0] + x if x.dim() == 2 else x",
    "x[::2].repeat_interleave(2, 0)",
    "x.select_scatter(x[..., 0] * 2, -1, 0)",
    "x.slice_scatter(x[:1] * 2, 0, 0, 1)",
    "x.diagonal_scatter(torch.ones_like(x.diagonal())) if x.dim() == 2 else x",
    "x.put(torch.tensor([0, 1]), torch.tensor([0.5, 0.5]))",
)
OUTSIDE = (
    "x[..., torch.tensor([x.shape[-1]])] + x",
    "x.gather(-1, torch.full_like(x, 99).long())",
    "x.index_select(-1, torch.tensor([0, 50])).sum(-1, keepdim=True) + x",
    "torch.tensor([0.1, 0.5])[(x > 0).long() * 2] + x",
    "torch.tensor([0.1, 0.5])[(x * 5).long()] + x",
    "F.one_hot((x > 0).long() + 1, 2).float().mean(-1) + x",
    "x[7] + x",
    "x[[-9]] + x",
    "F.embedding((x > 0).long() * 3, torch.eye(3))[..., 0] + x",
    "torch.zeros_like(x).scatter(-1, torch.full_like(x, 77).long(), 1.0) + x",
    "x.take(torch.tensor([-1])) + x",
    "torch.tensor([0.1, 0.5])[-(x > 0).long() - 2] + x",
)


def expression(w: Writer, r: Random, row: str) -> None:
    w.x(row)


MODEL.table("index", dict.fromkeys(SAME, 0.13), expression)
MODEL.table("index outside", dict.fromkeys(OUTSIDE, 0.05), expression)


@MODEL.production("vector quantisation", 0.5)
def quantise(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    codes = w.parameter(f"torch.randn(5, {size})")
    w.do(f"near = torch.cdist(x.reshape(-1, {size}), {codes}).argmin(1)")
    w.do(f"q = {codes}[near].view(x.shape)")
    w.x("x + (q - x).detach() + 0.1 * q")


@MODEL.production("routing", 0.5)
def routing(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    router, experts = w.module(f"nn.Linear({size}, 3)"), w.parameter(f"torch.randn(3, {size}, {size}) * 0.3")
    w.do(f"weight, chosen = {router}(x).softmax(-1).max(-1)")
    w.x(f"torch.einsum('...i,...ij->...j', x, {experts}[chosen]) * weight.unsqueeze(-1) + x")
