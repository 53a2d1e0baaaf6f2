"""Formulas drawn at random: nested arithmetic of several dtypes, reductions over any dimensions, chains of views."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

UNARY = (
    "{0}.tanh()",
    "{0}.sigmoid()",
    "{0}.sin()",
    "{0}.abs()",
    "(-{0})",
    "{0}.relu()",
    "({0} * 0.5)",
    "({0} + 1.5)",
    "{0}.square()",
    "{0}.clamp(-1.0, 2.0)",
    "{0}.detach()",
    "{0}.exp().clamp(max=3.0)",
    "({0}.abs() + 0.1).log()",
    "{0}.floor()",
    "({0} > 0.2)",
    "{0}.long()",
    "{0}.mean(-1, keepdim=True)",
    "{0}.sum(0, keepdim=True)",
    "{0}.amax(-1, keepdim=True)",
    "{0}[..., :1]",
    "{0}.flip(-1)",
    "{0}.softmax(-1)",
    "{0}.half()",
    "{0}.bfloat16()",
    "{0}.int()",
    "{0}.float()",
    "{0}.argmax(-1, keepdim=True)",
    "{0}.cumsum(-1)",
    "{0}.roll(1, -1)",
)
BINARY = (
    "({0} + {1})",
    "({0} - {1})",
    "({0} * {1})",
    "torch.maximum({0}, {1})",
    "torch.where({0} > 0.1, {0}, {1})",
    "({0} / ({1}.abs() + 1))",
    "torch.add({0}, {1}, alpha=2)",
    "({0} * ({1} >= 0))",
    "({0} < {1})",
    "torch.where({0} == {1}, {0}, {1} * 2)",
    "({0}.float() ** 2 - {1})",
    "({0} != {1}).float()",
    "torch.lerp({0}.float(), {1}.float(), 0.25)",
    "torch.atan2({0}.float(), {1}.float() + 3)",
    "({0} % ({1}.abs() + 1))",
    "({0} // ({1}.abs() + 1))",
    "torch.stack([{0}.float().expand_as(x), {1}.float().expand_as(x)]).amax(0)",
)
LEAVES = (
    "x",
    "x",
    "x",
    "x",
    "torch.arange(x.shape[-1])",
    "torch.tensor(0.3)",
    "torch.linspace(-1, 1, x.shape[-1])",
    "(x > 0)",
    "x.detach()",
    "torch.ones(1, dtype=torch.int64)",
)


def formula(r: Random, depth: int) -> str:
    """A random expression that broadcasts with ``x``."""
    if depth == 0 or r.random() < 0.15:
        return r.choice(LEAVES)
    if r.random() < 0.5:
        return r.choice(UNARY).format(formula(r, depth - 1))
    return r.choice(BINARY).format(formula(r, depth - 1), formula(r, depth - 1))


@MODEL.production("formula", 4)
def arithmetic(w: Writer, r: Random) -> None:
    w.x(f"x + 0.2 * torch.tanh({formula(r, r.choice((2, 3, 4)))}.float())")


Step = tuple[str, tuple[int, ...]]


def permuted(shape: tuple[int, ...], r: Random) -> Step | None:
    order = list(range(len(shape)))
    r.shuffle(order)
    return f".permute(0, {', '.join(str(i + 1) for i in order)})", tuple(shape[i] for i in order)


def joined(shape: tuple[int, ...], r: Random) -> Step | None:
    if len(shape) < 2:
        return None
    at = r.randrange(len(shape) - 1)
    return f".flatten({at + 1}, {at + 2})", (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])


def parted(shape: tuple[int, ...], r: Random) -> Step | None:
    at = r.randrange(len(shape))
    found = [n for n in (2, 3) if shape[at] % n == 0]
    if not found or len(shape) > 3:
        return None
    n = r.choice(found)
    return f".unflatten({at + 1}, ({n}, {shape[at] // n}))", (*shape[:at], n, shape[at] // n, *shape[at + 1 :])


def sliced(shape: tuple[int, ...], r: Random) -> Step | None:
    at = r.randrange(len(shape))
    start, step = r.choice((0, 0, 1)), r.choice((1, 2))
    size = len(range(start, shape[at], step))
    if not size:
        return None
    index = ", ".join([":"] * (at + 1) + [f"{start}::{step}"])
    return f"[{index}]", (*shape[:at], size, *shape[at + 1 :])


def narrowed(shape: tuple[int, ...], r: Random) -> Step | None:
    at = r.randrange(len(shape))
    if shape[at] < 2:
        return None
    return f".narrow({at + 1}, 1, {shape[at] - 1})", (*shape[:at], shape[at] - 1, *shape[at + 1 :])


def added(shape: tuple[int, ...], r: Random) -> Step | None:
    if len(shape) > 3:
        return None
    at = r.randrange(len(shape) + 1)
    return f".unsqueeze({at + 1})", (*shape[:at], 1, *shape[at:])


def picked(shape: tuple[int, ...], r: Random) -> Step | None:
    if len(shape) < 2:
        return None
    at = r.randrange(len(shape))
    return f".select({at + 1}, {r.randrange(shape[at])})", shape[:at] + shape[at + 1 :]


def crossed(shape: tuple[int, ...], r: Random) -> Step | None:
    if len(shape) < 2:
        return None
    return ".diagonal(dim1=1, dim2=2)", (*shape[2:], min(shape[:2]))


ALIASING: tuple[Callable[[tuple[int, ...], Random], Step | None], ...] = (
    permuted,
    joined,
    parted,
    sliced,
    narrowed,
    added,
    picked,
    crossed,
)


def flipped(shape: tuple[int, ...], r: Random) -> Step | None:
    return f".flip({r.randrange(len(shape)) + 1})", shape


def rolled(shape: tuple[int, ...], r: Random) -> Step | None:
    return f".roll({r.choice((1, 2, -1))}, {r.randrange(len(shape)) + 1})", shape


def widened(shape: tuple[int, ...], r: Random) -> Step | None:
    if len(shape) > 3:
        return None
    return f".unsqueeze(1).expand(-1, 2, {', '.join(map(str, shape))})", (2, *shape)


def repeated(shape: tuple[int, ...], r: Random) -> Step | None:
    at = r.randrange(len(shape))
    return f".repeat_interleave(2, {at + 1})", (*shape[:at], 2 * shape[at], *shape[at + 1 :])


def summed(shape: tuple[int, ...], r: Random) -> Step | None:
    if len(shape) < 2:
        return None
    at = r.randrange(len(shape))
    how = r.choice(
        (".sum({0})", ".mean({0})", ".amax({0})", ".logsumexp({0})", ".var({0})", ".cumsum({0}).select({0}, -1)")
    )
    return (how.format(at + 1), shape[:at] + shape[at + 1 :]) if shape[at] > 1 else None


def computed(shape: tuple[int, ...], r: Random) -> Step | None:
    return r.choice((".tanh()", ".mul(1.3)", ".add(0.2)", ".contiguous()", ".clone()", ".sin()")), shape


ANY = (*ALIASING, flipped, rolled, widened, repeated, summed, computed)


def chain(r: Random, shape: tuple[int, ...], steps: tuple, length: int) -> Step:
    """Several steps in a row: what is appended to a tensor's name, and the shape after it."""
    text = ""
    for _ in range(length):
        found = r.choice(steps)(shape, r)
        if found is not None:
            text, shape = text + found[0], found[1]
    return text, shape


@MODEL.production("chain of views", 3)
def views(w: Writer, r: Random) -> None:
    text, shape = chain(r, w.shape, ANY, r.choice((3, 4, 5, 6)))
    w.do(f"x = x{text}")
    w.shape = shape
    if len(shape) > 3:
        w.rank(1)


CHANGES = (
    "{0}.mul_(0.7)",
    "{0}.add_(0.3)",
    "{0}.neg_()",
    "{0}.zero_()",
    "{0}[:] = 0.4",
    "{0} += 0.1",
    "{0}.sub_(x.detach().mean())",
    "{0}.copy_(x.mean())",
    "{0}[0] = 0.2",
    "{0}.fill_(0.1)",
    "{0}[1:].mul_(2.0)",
    "{0}.add_({0}.detach())",
    "{0}[..., :1] -= 0.3",
    "{0}.masked_fill_({0}.detach() > 0.5, 0.5)",
)


@MODEL.production("aliases that are written", 3)
def aliases(w: Writer, r: Random) -> None:
    """Views of one tensor, and views of views, written in some order; then all of it is read."""
    names = [w.name("base")]
    shapes = [w.shape]
    w.do(f"{names[0]} = x.clone()")
    for _ in range(r.choice((1, 2, 3))):
        at = r.randrange(len(names))
        text, shape = chain(r, shapes[at], ALIASING, r.choice((1, 2, 3)))
        names.append(w.name("view"))
        shapes.append(shape)
        w.do(f"{names[-1]} = {names[at]}{text}")
        if r.random() < 0.7:
            w.do(r.choice(CHANGES).format(r.choice(names)))
    w.do(r.choice(CHANGES).format(r.choice(names)))
    w.x(f"torch.tanh({names[0]} + 0.3 * {names[-1]}.flatten(1).sum(1).view(-1, {', '.join('1' * len(w.shape))}))")
