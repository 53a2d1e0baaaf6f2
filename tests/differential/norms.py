"""Normalisation layers, with and without running statistics."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer


def statistics(r: Random) -> str:
    return r.choices(
        ["", ", momentum=0.3", ", momentum=None", ", momentum=0.0", ", track_running_stats=False", ", affine=False"],
        [5, 2, 1, 1, 1, 1],
    )[0]


@MODEL.production("BatchNorm", 3)
def batch_norm(w: Writer, r: Random) -> None:
    rank = r.choice((1, 2, 3))
    if rank == 3:
        w.image(2)
    elif rank == 2:
        w.sequence(2)
    else:
        w.vector()
    kind = "BatchNorm2d" if rank == 3 else "BatchNorm1d"
    layer = w.module(f"nn.{kind}({w.shape[0]}{statistics(r)})")
    if r.random() < 0.1:
        w.built.append(f"model.{layer.removeprefix('self.')}.eval()")
    w.x(f"{layer}(x)")


@MODEL.production("LayerNorm", 2)
def layer_norm(w: Writer, r: Random) -> None:
    shape = r.choice(((w.shape[-1],), tuple(w.shape)))
    options = r.choice(("", ", elementwise_affine=False", ", bias=False"))
    w.x(f"{w.module(f'nn.LayerNorm({list(shape)}{options})')}(x)")


@MODEL.production("RMSNorm", 1)
def rms_norm(w: Writer, r: Random) -> None:
    eps = r.choice(("", ", eps=1e-3"))
    w.x(f"{w.module(f'nn.RMSNorm({w.shape[-1]}{eps})')}(x)")


@MODEL.production("GroupNorm", 1.5)
def group_norm(w: Writer, r: Random) -> None:
    if r.random() < 0.5:
        w.image(2)
    else:
        w.sequence(2)
    groups = r.choice([g for g in (1, 2, 3, w.shape[0]) if w.shape[0] % g == 0])
    w.x(f"{w.module(f'nn.GroupNorm({groups}, {w.shape[0]}, affine={r.random() < 0.8})')}(x)")


@MODEL.production("InstanceNorm", 1)
def instance_norm(w: Writer, r: Random) -> None:
    options = f"affine={r.random() < 0.5}, track_running_stats={r.random() < 0.4}"
    if r.random() < 0.5:
        channels, _, _ = w.image(2)
        w.x(f"{w.module(f'nn.InstanceNorm2d({channels}, {options})')}(x)")
    else:
        channels, length = w.sequence(2)
        if length > 1:
            w.x(f"{w.module(f'nn.InstanceNorm1d({channels}, {options})')}(x)")


@MODEL.production("LocalResponseNorm", 0.5)
def local_response(w: Writer, r: Random) -> None:
    w.image(2)
    w.x(f"{w.module(f'nn.LocalResponseNorm({r.choice((1, 2, 3))}, alpha=0.5)')}(x)")


@MODEL.production("functional norm", 0.8)
def functional(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    if r.random() < 0.5:
        w.x(f"F.layer_norm(x, ({size},), weight={w.parameter(f'torch.ones({size})')})")
        return
    w.vector()
    size = w.shape[0]
    mean, variance = w.buffer(f"torch.zeros({size})"), w.buffer(f"torch.ones({size})")
    w.x(f"F.batch_norm(x, {mean}, {variance}, training={r.random() < 0.7}, momentum=0.2)")
