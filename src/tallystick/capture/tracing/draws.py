"""What PyTorch's random operators draw inside a program, from uniform, normal and exponential numbers.

Every draw takes a fixed number of words of the generator, whatever the values are. Where the usual method tries until
it succeeds (gamma numbers), so many attempts are made that all fail with a probability below 2^-24, the grain of a
uniform number itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload

if TYPE_CHECKING:
    from tallystick.capture.tracing.random import Sampler

aten = torch.ops.aten

ATTEMPTS = 6  # at a gamma number: one fails with a probability of at most 0.049, six with 1.4e-8
TINIEST = torch.finfo(torch.float32).tiny  # PyTorch's smallest gamma number, too
GRAINS = {torch.bfloat16: 2.0**8, torch.float16: 2.0**11}  # uniform numbers in [0, 1) of a narrow dtype

Sizes = Sequence[int]
Draw = Callable[..., Any]


# DTYPES
def _uniform(s: Sampler, shape: Sizes, dtype: torch.dtype | None) -> Tensor:
    """Numbers in [0, 1), also where a narrow dtype would round the last ones up to 1."""
    drawn = s.uniform(shape)
    if dtype in GRAINS:
        drawn = (drawn * GRAINS[dtype]).floor() * (1.0 / GRAINS[dtype])
    return drawn if dtype is None else drawn.to(dtype)


def _normal(s: Sampler, shape: Sizes, dtype: torch.dtype | None) -> Tensor:
    drawn = s.normal(shape)
    return drawn if dtype is None else drawn.to(dtype)


def _integers(s: Sampler, shape: Sizes, low: int, high: int, dtype: torch.dtype | None) -> Tensor:
    return s.integers(shape, low, high).to(dtype or torch.int64)


def _between(s: Sampler, x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    if (low, high) == (0.0, 1.0):
        return _uniform(s, x.shape, x.dtype)
    return s.uniform(x.shape, low, high)


# DISTRIBUTIONS
def _exponential(s: Sampler, x: Tensor, rate: float = 1.0) -> Tensor:
    drawn = s.exponential(x.shape)
    return drawn if rate == 1.0 else drawn * (1.0 / rate)


def _geometric(s: Sampler, x: Tensor, p: float) -> Tensor:
    """How many attempts it takes until one succeeds, which does with probability p."""
    return torch.ones(x.shape) if p == 1.0 else (s.exponential(x.shape) * (-1.0 / math.log1p(-p))).ceil()


def _cauchy(s: Sampler, x: Tensor, median: float = 0.0, sigma: float = 1.0) -> Tensor:
    """The cotangent of an angle in (0, pi / 2], which is fine where it is small, with a sign."""
    angle = s.fine(x.shape) * (math.pi / 2)
    drawn = angle.cos() / angle.sin()
    return torch.where(s.uniform(x.shape) < 0.5, -drawn, drawn) * sigma + median


def _log_normal(s: Sampler, x: Tensor, mean: float = 1.0, std: float = 2.0) -> Tensor:
    return s.normal(x.shape, mean, std).exp()


def _any_integer(s: Sampler, x: Tensor, low: int = 0, high: int | None = None) -> Tensor:
    """Without an upper bound: as many as the dtype has without a gap from 0 on, at most 2^24."""
    if high is None:
        high = min(_integers_of(x.dtype), 1 << 24)
    return s.integers(x.shape, low, high)


def _integers_of(dtype: torch.dtype) -> int:
    if dtype.is_floating_point:
        return int(2.0 / torch.finfo(dtype).eps)
    return 2 if dtype is torch.bool else torch.iinfo(dtype).max + 1


def _bernoulli(s: Sampler, x: Tensor, p: float | Tensor = 0.5) -> Tensor:
    return s.uniform(x.shape) < p


def _normal_around(s: Sampler, mean: float | Tensor, std: float | Tensor = 1.0) -> Tensor:
    """Shapes: mean and std broadcast to the result's."""
    given = [part for part in (mean, std) if isinstance(part, Tensor)]
    shape = torch.broadcast_shapes(*(part.shape for part in given))
    return (s.normal(shape) * std + mean).to(given[0].dtype)


def _log_gamma(s: Sampler, shape_parameter: Tensor) -> Tensor:
    """The logarithm of a gamma number for every shape parameter, which may be as small as it likes.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables", TOMS 26 (2000); section 6 for shape
    parameters below 1.
    """
    a = shape_parameter.float()
    small = a < 1.0
    d = torch.where(small, a + 1.0, a) - 1.0 / 3.0
    slope = (9.0 * d).rsqrt()
    log_cube, found = torch.zeros_like(d), torch.zeros(d.shape, dtype=torch.bool)
    for _ in range(ATTEMPTS):
        x = s.normal(d.shape)
        base = 1.0 + slope * x
        log_v = 3.0 * base.clamp(min=TINIEST).log()
        threshold = 0.5 * x * x + d - d * log_v.exp() + d * log_v
        accepted = (base > 0.0) & (-s.exponential(d.shape) < threshold)
        log_cube = torch.where(accepted & ~found, log_v, log_cube)
        found = found | accepted
    drawn = d.log() + log_cube
    return torch.where(small, drawn - s.exponential(d.shape) / a, drawn)


def _standard_gamma(s: Sampler, shape_parameter: Tensor) -> Tensor:
    return _log_gamma(s, shape_parameter).exp().clamp(min=TINIEST).to(shape_parameter.dtype)


def _dirichlet(s: Sampler, concentration: Tensor) -> Tensor:
    """Gamma numbers divided by their sum, from logarithms: none is 0 where concentrations are small."""
    return _log_gamma(s, concentration).softmax(-1).clamp(min=TINIEST).to(concentration.dtype)


# CHOICES
def _permutation(s: Sampler, n: int, dtype: torch.dtype | None = None) -> Tensor:
    """The order of n uniform numbers, equal ones by place: two are equal with a probability of 2^-24."""
    return torch.sort(s.uniform((n,)), stable=True)[1].to(dtype or torch.int64)


def _multinomial(s: Sampler, weights: Tensor, count: int, replacement: bool = False) -> Tensor:
    """Numbers of columns, by weights that need not sum to 1. Shapes: (..., n) -> (..., count), int64.

    Without replacement, or for one: exponential numbers with the weights as rates race, and the first win, which is
    drawing one after the other. With replacement: places of uniform numbers in the running sum of the weights.
    """
    weights = weights.float()
    if count == 1 or not replacement:
        return torch.topk(weights / s.exponential(weights.shape), count, -1)[1]
    below = weights.cumsum(-1)
    drawn = s.uniform((*weights.shape[:-1], count)) * below[..., -1:]
    return torch.searchsorted(below, drawn, right=True)


# LAYERS
def _native_dropout(s: Sampler, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = s.uniform(x.shape) < 1.0 - p
    return x * kept * (1.0 / (1.0 - p) if p < 1.0 else 0.0), kept


def _rrelu(
    s: Sampler,
    x: Tensor,
    noise: Tensor,
    lower: float = 0.125,
    upper: float = 1.0 / 3.0,
    training: bool = False,
    *_: Any,
) -> Tensor:
    """Slopes of negative elements, drawn in training. ``noise`` gets what x was multiplied with, for the gradient."""
    if not training:
        return torch.where(x > 0, x, x * ((lower + upper) / 2.0))
    slopes = torch.where(x > 0, 1.0, s.uniform(x.shape, lower, upper)).to(x.dtype)
    noise.copy_(slopes)
    return x * slopes


def _rrelu_functional(s: Sampler, x: Tensor, noise: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    own = noise.clone()
    return _rrelu(s, x, own, *rest), own


# THE TABLE
def _made_like(draw: Draw) -> Draw:
    """The form that returns a new tensor like its first argument."""
    return lambda s, x, *args: draw(s, x, *args).to(x.dtype)


def _filled(draw: Draw) -> Draw:
    """The form that fills its first argument."""
    return lambda s, x, *args, **named: x.copy_(draw(s, x, *args, **named))


def _sized(draw: Draw) -> Draw:
    return lambda s, shape, dtype=None, **_: draw(s, shape, dtype)


def _sized_like(draw: Draw) -> Draw:
    return lambda s, x, dtype=None, **_: draw(s, x.shape, dtype or x.dtype)


def _randint(s: Sampler, *bounds_and_shape: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    *bounds, shape = bounds_and_shape
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    return _integers(s, shape, low, high, dtype)


def _randint_like(s: Sampler, x: Tensor, *bounds: int, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return _randint(s, *bounds, x.shape, dtype=dtype or x.dtype)


def _randperm(s: Sampler, n: int, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return _permutation(s, n, dtype)


# Operators that fill a tensor, whose name ends with an underscore, and their forms that return a new one.
_FILLS: dict[str, Draw] = {
    "cauchy": _cauchy,
    "exponential": _exponential,
    "geometric": _geometric,
    "log_normal": _log_normal,
    "normal": lambda s, x, mean=0.0, std=1.0: s.normal(x.shape, mean, std),
    "uniform": _between,
}
_BY_SHAPE: dict[str, Draw] = {
    "rand": _sized(_uniform),
    "rand_like": _sized_like(_uniform),
    "randint": _randint,
    "randint_like": _randint_like,
    "randn": _sized(_normal),
    "randn_like": _sized_like(_normal),
    "randperm": _randperm,
}
# Overloads that take a generator are drawn if it is PyTorch's own, or None. A bound that is a tensor is not known.
_OVERLOADS = ("default", "low", "low_dtype", "generator", "low_generator", "low_generator_dtype")


def _table() -> Iterator[tuple[OpOverload, Draw]]:
    for name, draw in _FILLS.items():
        yield getattr(aten, f"{name}_").default, _filled(draw)
        if name != "normal":  # whose other forms are overloads of their own
            yield getattr(aten, name).default, _made_like(draw)
    for name, draw in _BY_SHAPE.items():
        packet = getattr(aten, name)
        yield from ((getattr(packet, overload), draw) for overload in packet.overloads() if overload in _OVERLOADS)
    yield aten.bernoulli.default, lambda s, x: _bernoulli(s, x, x).to(x.dtype)
    for overload in (aten.bernoulli.p, aten.bernoulli.Tensor):
        yield overload, _made_like(_bernoulli)
    for overload in (aten.bernoulli_.float, aten.bernoulli_.Tensor):
        yield overload, _filled(_bernoulli)
    for overload in (aten.normal.Tensor_Tensor, aten.normal.Tensor_float, aten.normal.float_Tensor):
        yield overload, _normal_around
    yield (
        aten.normal.float_float,
        lambda s, mean, std, shape, dtype=None, **_: (
            s.normal(shape, mean, std) if dtype is None else s.normal(shape, mean, std).to(dtype)
        ),
    )
    yield aten.random_.default, _filled(_any_integer)
    yield aten.random_.to, _filled(lambda s, x, high: _any_integer(s, x, 0, high))
    yield getattr(aten.random_, "from"), _filled(_any_integer)
    yield aten.multinomial.default, _multinomial
    yield aten._standard_gamma.default, lambda s, x, *_: _standard_gamma(s, x)
    yield aten._sample_dirichlet.default, lambda s, x, *_: _dirichlet(s, x)
    yield aten.native_dropout.default, _native_dropout
    yield aten.rrelu_with_noise.default, _rrelu
    yield aten.rrelu_with_noise_.default, lambda s, x, *rest: x.copy_(_rrelu(s, x, *rest))
    yield aten.rrelu_with_noise_functional.default, _rrelu_functional


DRAWS: Mapping[OpOverload, Draw] = dict(_table())

# What to write instead of draws whose number of attempts has no bound that is known beforehand.
INSTEAD: Mapping[OpOverload, str] = {
    aten.poisson.default: (
        "the number of words that a Poisson number takes depends on its rate: draw it outside of the step and pass it "
        "as data, or, for rates above about 20, take (rate + rate.sqrt() * torch.randn_like(rate)).round().clamp(min=0)"
    ),
    aten.binomial.default: (
        "the number of words that a binomial number takes depends on its count: where the count is the same "
        "everywhere, sum draws of one, as in (torch.rand(count, *p.shape) < p).float().sum(0)"
    ),
    aten.randint_like.Tensor: (
        "a bound that is a tensor may be above 2^24, which a draw cannot be: if none is, write "
        "(torch.rand(high.shape) * high).long()"
    ),
}
