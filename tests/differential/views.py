"""Views, permutations, joins and splits."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

SAME = (
    "x.flip(-1)",
    "x.roll(1, -1)",
    "x.roll(1, 0)",
    "x.roll((1, 2), (0, -1))",
    "x.unsqueeze(0).squeeze(0)",
    "x.clone()",
    "x.contiguous()",
    "x[None][0]",
    "x.transpose(0, -1).transpose(-1, 0)",
    "x.view(-1).view(x.shape)",
    "x.reshape(-1).unflatten(0, x.shape)",
    "torch.cat([x[..., 1:], x[..., :1]], -1)",
    "torch.stack([x, -x]).sum(0)",
    "torch.stack(x.unbind(-1), -1)",
    "torch.cat(x.split(1, -1), -1)",
    "x.expand(2, *x.shape).mean(0)",
    "x.repeat(2, *[1] * (x.dim() - 1)).view(2, *x.shape)[1]",
    "x.tile(2)[..., :x.shape[-1]]",
    "x.repeat_interleave(2, -1)[..., ::2]",
    "x.movedim(0, -1).movedim(-1, 0)",
    "x.swapaxes(0, -1).swapaxes(0, -1)",
    "F.pad(x, (1, 1))[..., 1:-1]",
    "F.pad(x, (0, 1), value=0.5)[..., 1:]",
    "x.unfold(-1, 2, 1).mean(-1).mean(-1, keepdim=True) + x",
    "x.contiguous().as_strided(x.shape, x.contiguous().stride())",
    "x.broadcast_to((3, *x.shape))[2]",
    "x.narrow(-1, 0, 1) + x",
    "x.select(-1, 0).unsqueeze(-1) * x",
    "x.mT.mT if x.dim() > 1 else x",
    "torch.atleast_2d(x)",
    "x.view_as(x)",
    "x.rot90(2, (0, -1))",
    "torch.hstack([x, x])[:, : x.shape[1]]",
    "torch.vstack([x, x])[: x.shape[0]]",
    "x[..., [0]] + x",
    "x.diag_embed().sum(-1)",
    "x.diag_embed().diagonal(dim1=-2, dim2=-1)",
    "torch.block_diag(x.flatten(1))[: x.shape[0]].view(x.shape)",
    "x.tril() + x.triu(1)",
    "torch.meshgrid(x.flatten(), torch.arange(2.0), indexing='ij')[0][:, 1].view(x.shape)",
    "torch.column_stack([x.flatten(1), x.flatten(1)])[:, : x[0].numel()].view(x.shape)",
    "torch.broadcast_tensors(x, torch.zeros(2, *[1] * x.dim()))[0][1]",
    "torch.cartesian_prod(x.flatten()[:2], x.flatten()[:2]).sum() + x",
    "x.view(torch.int32).view(torch.float32)",
    "x.ravel().reshape(x.shape)",
    "x.new_tensor([1.0, 2.0]).sum() * x",
    "x.to(torch.float32, copy=True)",
    "x.type_as(torch.zeros(1))",
    "x + torch.tensor([0.1]).item()",
    "torch.tensor_split(x, 2, -1)[0].sum(-1, keepdim=True) + x",
    "torch.vmap(torch.sin)(x)",
    "torch.vmap(lambda row: row - row.mean())(x)",
)


def same(w: Writer, r: Random, row: str) -> None:
    w.x(row)


MODEL.table("view", dict.fromkeys(SAME, 0.13), same)


@MODEL.production("transpose", 1)
def transpose(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    w.x(
        r.choice(("x.transpose(1, 2)", "x.permute(0, 2, 1)", "x.mT", "x.transpose(-1, -2).contiguous()")), width, length
    )


@MODEL.production("windows", 0.6)
def windows(w: Writer, r: Random) -> None:
    length, width = w.sequence(3)
    if length < 3:
        return
    w.x("x.unfold(1, 2, 1).flatten(2)", length - 1, 2 * width)


@MODEL.production("overlapping strides", 0.4)
def overlapping(w: Writer, r: Random) -> None:
    size = w.vector()
    if size < 3:
        return
    w.x(f"x.contiguous().as_strided((x.shape[0], {size - 1}, 2), ({size}, 1, 1)).sum(-1)", size - 1)


@MODEL.production("sum over time", 1)
def pooled(w: Writer, r: Random) -> None:
    _, width = w.sequence(2)
    w.x(
        r.choice(
            ("x.mean(1)", "x.sum(1)", "x.amax(1)", "x.logsumexp(1)", "x[:, -1]", "x.max(1).values", "x.norm(dim=1)")
        ),
        width,
    )


@MODEL.production("patches", 0.5)
def patches(w: Writer, r: Random) -> None:
    channels, height, width = w.image(2)
    if height % 2 or width % 2:
        return
    expression = "x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)"
    w.x(expression, height * width // 4, 4 * channels)
