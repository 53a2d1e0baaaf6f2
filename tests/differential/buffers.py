"""Buffers that the forward pass writes: statistics, counters, queues."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer


@MODEL.production("running mean", 1.2)
def running_mean(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    b = w.buffer(f"torch.zeros({size})", persistent=r.random() < 0.8)
    mean = f"x.detach().reshape(-1, {size}).mean(0)"
    lines = r.choice(
        (
            [f"{b}.mul_(0.9).add_({mean}, alpha=0.1)"],
            [f"{b} = 0.9 * {b} + 0.1 * {mean}"],
            [f"{b}.lerp_({mean}, 0.2)"],
            [f"{b}.copy_(0.9 * {b} + 0.1 * {mean})"],
            [f"{b}.data = 0.9 * {b} + 0.1 * {mean}"],
            [f"{b}.data.lerp_({mean}, 0.2)"],
            [f"{b}[:] = 0.9 * {b} + 0.1 * {mean}"],
            [f"{b} -= 0.1 * ({b} - {mean})"],
        )
    )
    if r.random() < 0.5:
        with w.block("with torch.no_grad():"):
            w.do(*lines)
    else:
        w.do(*lines)
    w.x(f"x - {b}")


@MODEL.production("counter in a buffer", 0.8)
def counter(w: Writer, r: Random) -> None:
    b = w.buffer(r.choice(("torch.zeros((), dtype=torch.int64)", "torch.zeros(1)", "torch.tensor(0)")))
    w.do(r.choice((f"{b} += 1", f"{b}.add_(1)", f"{b} = {b} + 1")))
    w.x(f"x * ({b} / 5).clamp(max=1.0)")


@MODEL.production("queue", 0.5)
def queue(w: Writer, r: Random) -> None:
    size = w.vector()
    bank, at = w.buffer(f"torch.zeros(8, {size})"), w.buffer("torch.zeros(1, dtype=torch.long)")
    w.do(f"places = ({at} + torch.arange(x.shape[0])) % 8")
    w.do(f"{bank}[places] = x.detach()")
    w.do(f"{at}[0] = ({at}[0] + x.shape[0]) % 8")
    w.x(f"x + 0.1 * (x @ {bank}.T).softmax(-1) @ {bank}")


@MODEL.production("queue by a python slice", 0.2)
def sliced_queue(w: Writer, r: Random) -> None:
    size = w.vector()
    bank, at = w.buffer(f"torch.zeros(8, {size})"), w.buffer("torch.zeros(1, dtype=torch.long)")
    w.do(f"at = int({at})", f"{bank}[at : at + x.shape[0]] = x.detach()", f"{at}[0] = (at + x.shape[0]) % 8")
    w.x(f"x + 0.1 * (x @ {bank}.T).softmax(-1) @ {bank}")


@MODEL.production("buffer that is only read", 0.6)
def read_only(w: Writer, r: Random) -> None:
    b = w.buffer(f"torch.linspace(0.5, 1.5, {w.shape[-1]})", persistent=r.random() < 0.5)
    w.x(f"x * {b}")


@MODEL.production("buffer registered in forward", 0.2)
def registered(w: Writer, r: Random) -> None:
    name = w.name("late")
    with w.block(f"if not hasattr(self, '{name}'):"):
        w.do(f"self.register_buffer('{name}', torch.full(({w.shape[-1]},), 0.9), persistent=False)")
    w.x(f"x * self.{name}")


@MODEL.production("table cached in forward", 0.4)
def cached(w: Writer, r: Random) -> None:
    name = w.attribute("None")
    with w.block(f"if {name} is None:"):
        w.do(f"{name} = torch.linspace(0.5, 1.5, {w.shape[-1]})")
    w.x(f"x * {name}")


@MODEL.production("two views of one buffer", 0.2)
def two_views(w: Writer, r: Random) -> None:
    b = w.buffer(f"torch.zeros({w.shape[-1]})")
    other = w.attribute(f"{b}[:1]")
    w.do(f"{b}.add_(0.1)")
    w.x(f"x + {other}")


@MODEL.production("shared buffer", 0.3)
def shared(w: Writer, r: Random) -> None:
    b = w.buffer(f"torch.zeros({w.shape[-1]})")
    name = w.name("b")
    w.init.append(f'self.register_buffer("{name}", {b})')
    w.do(f"{b}.add_(0.1)")
    w.x(f"x + self.{name}")
