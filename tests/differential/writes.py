"""In-place writes to activations and parts of them."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

STATEMENTS = (
    "x = x * 1; x.relu_()",
    "x = x + 0; x.add_(0.1)",
    "x = x * 1; x.mul_(x.detach().sigmoid())",
    "x = x.clone(); x *= 0.5",
    "x = x * 1; x.clamp_(-1, 1)",
    "x = x * 1; x.masked_fill_(x.detach() < 0, 0.2)",
    "x = x.clone(); x[..., 0] = 0.5",
    "x = x.clone(); x[:, 0] = x[:, -1]",
    "x = x.clone(); x[..., ::2] *= 2.0",
    "x = x.clone(); x[..., 1:] += x[..., :-1].clone()",
    "x = x.clone(); x[x > 0.5] = 0.5",
    "x = x.clone(); x[0] = 0.0",
    "x = x.clone(); x[torch.arange(2)] += 1.0",
    "x = x.clone(); x.view(-1)[::3] = 0.1",
    "x = x.clone(); v = x.transpose(0, -1); v.mul_(0.7)",
    "x = x.clone(); x.flatten(1).select(1, 0).zero_()",
    "x = x.clone(); x.index_fill_(-1, torch.tensor([0, 1]), 0.3)",
    "x = x.clone(); x.index_add_(-1, torch.tensor([0, 0]), x[..., :2].detach())",
    "x = x.clone(); x.index_copy_(-1, torch.tensor([1, 0]), x[..., :2].tanh())",
    "x = x.clone(); x.scatter_(-1, torch.zeros_like(x[..., :1]).long(), 0.4)",
    "x = x.clone(); x.scatter_add_(-1, torch.zeros_like(x[..., :1]).long(), x[..., -1:].clone())",
    "x = x.clone(); x.index_put_((torch.tensor([0, 1]),), torch.tensor(0.3), accumulate=True)",
    "x = x.clone(); x.unsqueeze(0)[0].sub_(0.1)",
    "x = x.clone(); x.fill_diagonal_(0.0) if x.dim() == 2 else None",
    "x = x.clone(); y = x[..., 0]; y += 1; x = x + y.unsqueeze(-1)",
    "x = x.clone(); x.copy_(x.flip(-1))",
    "y = torch.zeros_like(x); y[...] = x; x = y",
    "y = torch.empty_like(x); y.copy_(x).tanh_(); x = y",
    "y = x.new_zeros(x.shape); y[1:] = x[:-1]; x = x + y",
    "x = x.contiguous().clone(); x.as_strided((2,), (1,)).mul_(0.5)",
    "x = x.clone(); x.T.mul_(1.5) if x.dim() == 2 else None",
    "x = x.clone(); x.lerp_(torch.ones_like(x), 0.2)",
    "x = x.clone(); x.addcmul_(x.detach(), x.detach(), value=0.1)",
    "x = x.clone(); x.masked_scatter_(x > 10, x.detach())",
    "x = x.clone(); x.data.mul_(0.5)",
    "x = x.clone(); x.detach().add_(0.5)",
    "x = x * 1; F.leaky_relu_(x, 0.2)",
    "x = x + 0; F.dropout(x, 0.0, inplace=True)",
    "x = x.clone(); x.permute(*reversed(range(x.dim()))).add_(torch.arange(x.shape[0]) * 0.1)",
    "x = x.clone(); torch.add(x, 1, out=x) if not torch.is_grad_enabled() else None",
    "x = x.clone(); x.cumsum_(-1)",
    "x = x.clone(); x.swapaxes_(0, 0)",
)

# What autograd does not allow: eager PyTorch raises, at once or in the backward pass, where ``x`` needs a gradient.
WRONG = (
    "x = x.clone(); x.narrow(-1, 0, 1).copy_(x.narrow(-1, 1, 1).sin())",
    "x = x.clone(); u, v = x.split([1, x.shape[-1] - 1], -1); v.add_(1.0)",
    "x = x.clone(); x.chunk(2, -1)[0].mul_(2)",
    "x = x.clone(); x.unbind(-1)[0].add_(1)",
    "x = x.exp(); x.add_(1.0)",
    "x = x.tanh(); x[..., 0] = 0.0",
    "x = x * 1; y = x.sin(); x.mul_(2); x = x + y",
    "x = x * 1; y = x * x; x.add_(1); x = x + y",
    "x = x.clone(); x.resize_(x.shape)",
    "x.add_(0.5)",
    "x[..., 0] = 0.0",
    "F.relu_(x)",
    "x = x.clone(); x.exp_().log_()",
    "x = x.clone(); x.sigmoid_().mul_(2)",
)


def statement(w: Writer, r: Random, row: str) -> None:
    w.do(*row.split("; "))


MODEL.table("write", dict.fromkeys(STATEMENTS, 0.2), statement)
MODEL.table("wrong write", dict.fromkeys(WRONG, 0.08), statement)
