"""What random operators draw in a program has the distribution that PyTorch says; seeds are fixed.

A Kolmogorov-Smirnov test for continuous numbers, a chi-squared test for counts. A correct draw fails at this level once
in ten thousand seeds; the seed is one with which it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy import stats
from torch import Tensor, nn

from drawing import drawing_step, draws
from eager_training import GraphRunner
from tallystick.capture.tracing.random import Sampler
from tallystick.capture.training import captured
from tallystick.engine import Engine
from tallystick.engine.target import Target
from tallystick.errors import CaptureError

D = torch.distributions
LEVEL = 1e-4
COUNT = 20_001


def constant(x: Tensor, value: float) -> Tensor:
    return torch.full_like(x, value)


CONTINUOUS: dict[str, tuple[Callable[[Tensor], Tensor], Callable]] = {
    "exponential": (lambda x: torch.empty_like(x).exponential_(), stats.expon.cdf),
    "exponential, rate": (lambda x: torch.empty_like(x).exponential_(4.0), stats.expon(scale=0.25).cdf),
    "cauchy": (lambda x: torch.empty_like(x).cauchy_(1.0, 2.0), stats.cauchy(1.0, 2.0).cdf),
    "log_normal": (lambda x: torch.empty_like(x).log_normal_(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5)).cdf),
    "uniform": (lambda x: torch.empty_like(x).uniform_(-2.0, 4.0), stats.uniform(-2.0, 6.0).cdf),
    "normal of tensors": (lambda x: torch.normal(constant(x, 1.0), constant(x, 3.0)), stats.norm(1.0, 3.0).cdf),
    "normal of a mean": (lambda x: torch.normal(constant(x, 1.0), 2.0), stats.norm(1.0, 2.0).cdf),
    "normal of a deviation": (lambda x: torch.normal(1.0, constant(x, 2.0)), stats.norm(1.0, 2.0).cdf),
    "normal of numbers": (lambda x: torch.normal(-1.0, 0.5, x.shape), stats.norm(-1.0, 0.5).cdf),
    "truncated normal, as the refusal advises": (
        lambda x: torch.erfinv(torch.empty_like(x).uniform_(-0.6, 0.8)) * 2**0.5,
        stats.truncnorm(stats.norm.ppf(0.2), stats.norm.ppf(0.9)).cdf,
    ),
    "gumbel": (lambda x: D.Gumbel(constant(x, 1.0), 2.0, validate_args=False).sample(), stats.gumbel_r(1.0, 2.0).cdf),
    "gamma, large": (lambda x: D.Gamma(constant(x, 7.5), 2.0, False).sample(), stats.gamma(7.5, scale=0.5).cdf),
    "gamma, one": (lambda x: D.Gamma(constant(x, 1.0), 1.0, False).sample(), stats.gamma(1.0).cdf),
    "gamma, small": (lambda x: D.Gamma(constant(x, 0.2), 1.0, False).sample(), stats.gamma(0.2).cdf),
    "beta": (lambda x: D.Beta(constant(x, 0.4), constant(x, 0.7), False).sample(), stats.beta(0.4, 0.7).cdf),
    "dirichlet": (
        lambda x: D.Dirichlet(torch.tensor([0.5, 1.0, 2.0]).expand(len(x), 3), False).sample()[:, 1],
        stats.beta(1.0, 2.5).cdf,
    ),
    "laplace": (lambda x: D.Laplace(constant(x, 0.0), 2.0, False).sample(), stats.laplace(0.0, 2.0).cdf),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, distribution = CONTINUOUS[name]
    (drawn,) = draws(draw, COUNT)
    assert stats.kstest(drawn, distribution).pvalue > LEVEL
    # Neighbours are independent: so are the signs of their distances from the median.
    above = drawn > np.median(drawn)
    assert abs((above[1:] == above[:-1]).mean() - 0.5) < 4 * 0.5 / np.sqrt(COUNT)


DISCRETE: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "geometric": (lambda x: torch.empty_like(x).geometric_(0.3).clamp(max=5) - 1, [0.3, 0.21, 0.147, 0.1029, 0.2401]),
    "geometric, certain": (lambda x: torch.empty_like(x).geometric_(1.0) - 1, [1.0]),
    "bernoulli": (lambda x: torch.bernoulli(constant(x, 0.3)), [0.7, 0.3]),
    "bernoulli, a number": (lambda x: torch.bernoulli(x, 0.3), [0.7, 0.3]),
    "bernoulli, into": (lambda x: torch.empty_like(x).bernoulli_(constant(x, 0.3)), [0.7, 0.3]),
    "random": (lambda x: torch.empty_like(x).random_(5), [0.2] * 5),
    "random, from": (lambda x: torch.empty(len(x), dtype=torch.int64).random_(2, 5).float() - 2, [1 / 3] * 3),
    "random, bool": (lambda x: torch.empty(len(x), dtype=torch.bool).random_().float(), [0.5] * 2),
    "randint_like": (lambda x: torch.randint_like(x, 3, 5) - 3, [0.5] * 2),
    "multinomial, one": (
        lambda x: torch.multinomial(torch.tensor([1.0, 0.0, 3.0, 4.0]).expand(len(x), 4), 1)[:, 0].float(),
        [1 / 8, 0.0, 3 / 8, 4 / 8],
    ),
    "multinomial, again": (
        lambda x: torch.multinomial(torch.tensor([0.0, 1.0, 3.0, 0.0, 4.0, 0.0]), len(x), True).float(),
        [0.0, 1 / 8, 3 / 8, 0.0, 4 / 8],
    ),
    "categorical": (
        lambda x: D.Categorical(torch.tensor([0.1, 0.2, 0.7]), validate_args=False).sample((len(x),)).float(),
        [0.1, 0.2, 0.7],
    ),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str) -> None:
    draw, probabilities = DISCRETE[name]
    (drawn,) = draws(draw, COUNT)
    must_fit(drawn.astype(np.int64), probabilities)


def must_fit(drawn: np.ndarray, probabilities: list[float]) -> None:
    """Whole numbers from 0 on have these probabilities, and what has none is never drawn."""
    counts = np.bincount(drawn, minlength=len(probabilities))
    assert len(counts) == len(probabilities)
    expected = np.array(probabilities) * len(drawn)
    possible = expected > 0
    assert (counts[~possible] == 0).all()
    assert possible.sum() == 1 or stats.chisquare(counts[possible], expected[possible]).pvalue > LEVEL


def test_choices_without_replacement_are_made_one_after_the_other() -> None:
    weights = torch.tensor([1.0, 2.0, 5.0])

    def draw(x: Tensor) -> Tensor:
        chosen = torch.multinomial(weights.expand(len(x), 3), 2)
        return (chosen[:, 0] * 3 + chosen[:, 1]).float()

    (drawn,) = draws(draw, COUNT)
    share = (weights / 8).tolist()
    pairs = [0.0 if i == j else share[i] * share[j] / (1 - share[i]) for i in range(3) for j in range(3)]
    must_fit(drawn.astype(np.int64), pairs[:8])


def test_a_choice_among_many_is_fine_enough() -> None:
    """The rarest of 40,000 is drawn no less than the others, in either way of drawing."""
    for count, replacement in ((1, False), (3, False), (3, True)):

        def draw(x: Tensor, count: int = count, replacement: bool = replacement) -> Tensor:
            chosen = torch.multinomial(torch.ones(200, 40_000), count, replacement)
            return chosen.reshape(-1).float()

        (drawn,) = draws(draw, 200 * count)
        assert stats.kstest(drawn / 40_000, "uniform").pvalue > LEVEL


def test_permutations_are_equally_likely() -> None:
    def draw(x: Tensor) -> Tensor:
        return torch.cat([torch.randperm(3) for _ in range(150)]).float()

    (drawn,) = draws(draw, 450)
    orders = list(permutations((0.0, 1.0, 2.0)))
    must_fit(np.array([orders.index(tuple(row)) for row in drawn.reshape(-1, 3).tolist()]), [1 / 6] * 6)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_a_permutation_has_every_number_once(count: int) -> None:
    first, second = draws(lambda x: torch.randperm(len(x), dtype=torch.int32).float(), count, steps=2)
    assert sorted(first) == sorted(second) == list(range(count))
    assert count < 3 or (first != second).any()


def test_uniform_numbers_of_a_narrow_dtype_stay_below_one() -> None:
    for dtype, spacing in ((torch.bfloat16, 2.0**-8), (torch.float16, 2.0**-11)):
        (drawn,) = draws(lambda x, dtype=dtype: torch.rand(x.shape, dtype=dtype).float())
        assert drawn.max() == 1.0 - spacing and drawn.min() == 0.0
        (filled,) = draws(lambda x, dtype=dtype: torch.empty(x.shape, dtype=dtype).uniform_().float())
        assert filled.max() < 1.0


@pytest.mark.parametrize("word, column", [(0.0, 1), (1.0 - 2.0**-24, 3)])
def test_no_word_draws_what_has_no_weight(word: float, column: int) -> None:
    with always_drawn(word):
        (drawn,) = draws(lambda x: torch.multinomial(torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0]), 3, True).float(), 3)
    assert (drawn == column).all()


def always_drawn(word: float) -> mock._patch[object]:
    """The generator's words of zeros are the smallest that it can draw, words of ones the largest."""
    return mock.patch.object(Sampler, "uniform", lambda self, shape: torch.full(list(shape), word))


def test_exponential_numbers_are_never_zero_or_infinite() -> None:
    """Gumbel numbers are their logarithms."""
    for word in (0.0, 1.0 - 2.0**-24):
        with always_drawn(word):
            (drawn,) = draws(lambda x: torch.empty_like(x).exponential_(), 3)
        assert (drawn > 0).all() and np.isfinite(drawn).all()


# GRADIENTS
def repeated(make: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The value that ``make`` draws of logits, and the gradient by them."""

    def run(logits: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.get_rng_state()
        own = logits.clone().requires_grad_()
        with torch.enable_grad():
            value = make(own)
            (gradient,) = torch.autograd.grad(value, own, torch.arange(value.numel()).reshape(value.shape).float())
        torch.set_rng_state(state)  # the next one draws the same, as a checkpoint does
        return value.detach(), gradient

    return run


LOGITS = torch.linspace(-1.0, 1.5, 24).reshape(6, 4)


def test_a_hard_gumbel_softmax_has_the_gradient_of_the_soft_one() -> None:
    def draw(x: Tensor) -> Tensor:
        logits = LOGITS + 0.0 * x[0]
        hard = repeated(lambda logits: F.gumbel_softmax(logits, tau=0.7, hard=True))(logits)
        soft = repeated(lambda logits: F.gumbel_softmax(logits, tau=0.7))(logits)
        return torch.cat([part.reshape(-1) for part in (*hard, *soft)])

    (drawn,) = draws(draw, 96)
    hard, hard_gradient, soft, soft_gradient = drawn.reshape(4, 6, 4)
    assert (hard == (soft == soft.max(1, keepdims=True))).all()
    assert (hard_gradient == soft_gradient).all() and (soft_gradient != 0).any()
    np.testing.assert_allclose(soft.sum(1), 1.0, rtol=1e-6)


def test_samples_of_a_normal_distribution_differentiate_by_its_parameters() -> None:
    def draw(x: Tensor) -> Tensor:
        value, by_mean = repeated(lambda mean: D.Normal(mean, 2.0, validate_args=False).rsample())(LOGITS)
        _, by_scale = repeated(lambda scale: D.Normal(LOGITS, scale, validate_args=False).rsample())(LOGITS)
        return torch.cat([part.reshape(-1) for part in (value, by_mean, by_scale)])

    (drawn,) = draws(draw, 72)
    value, by_mean, by_scale = drawn.reshape(3, 24)
    incoming = np.arange(24)
    assert (by_mean == incoming).all()
    np.testing.assert_allclose(by_scale, incoming * (value - LOGITS.numpy().reshape(-1)) / 2.0, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inplace", [False, True])
def test_rrelu_multiplies_negative_elements_by_drawn_slopes(inplace: bool) -> None:
    x = torch.linspace(-1.0, 1.0, 4000)

    def draw(before: Tensor) -> Tensor:
        rrelu = repeated(lambda x: F.rrelu(x * 1.0, 0.1, 0.5, training=True, inplace=inplace))
        value, gradient = rrelu(x + 0.0 * before[0])
        return torch.cat([value, gradient])

    value, gradient = draws(draw, 8000)[0].reshape(2, 4000)
    negative = x.numpy() < 0
    assert (value[~negative] == x.numpy()[~negative]).all()
    slopes = value[negative] / x.numpy()[negative]
    assert stats.kstest(slopes, stats.uniform(0.1, 0.4).cdf).pvalue > LEVEL
    np.testing.assert_allclose(gradient, np.arange(4000) * np.where(negative, value / x.numpy(), 1.0), rtol=1e-5)


def test_rrelu_out_of_training_has_the_mean_slope() -> None:
    (drawn,) = draws(lambda x: repeated(nn.RReLU(0.1, 0.5).eval())(LOGITS + 0.0 * x[0])[0].reshape(-1), 24)
    np.testing.assert_allclose(drawn, F.leaky_relu(LOGITS, 0.3).numpy().reshape(-1), rtol=1e-6)


# GENERATORS
def test_a_generator_of_ones_own_is_refused_and_pytorchs_own_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    for draw in (
        lambda x: torch.rand(x.shape, generator=generator),
        lambda x: torch.empty_like(x).normal_(generator=generator),
        lambda x: torch.randperm(len(x), generator=generator).float(),
    ):
        with pytest.raises(CaptureError, match=r"generator of its own.*test_drawn_distributions.*Leave generator= out"):
            draws(draw, 5)
    (without,) = draws(torch.rand_like, 5)
    (with_none,) = draws(lambda x: torch.rand(x.shape, generator=None), 5)
    (with_default,) = draws(lambda x: torch.empty_like(x).uniform_(generator=torch.default_generator), 5)
    assert (without == with_none).all() and (without == with_default).all()


def test_what_has_no_bound_says_what_to_write_and_that_works() -> None:
    with pytest.raises(CaptureError, match=r"binomial.*torch.rand\(count, \*p.shape\) < p\).float\(\).sum\(0\)"):
        draws(lambda x: torch.binomial(constant(x, 10.0), constant(x, 0.3)), 5)
    p = torch.tensor(0.3)
    (drawn,) = draws(lambda x: (torch.rand(4, len(x)) < p).float().sum(0), COUNT)
    must_fit(drawn.astype(np.int64), stats.binom(4, 0.3).pmf(range(5)).tolist())
    with pytest.raises(CaptureError, match=r"poisson.*rate.sqrt\(\)"):
        draws(lambda x: torch.poisson(constant(x, 40.0)), 5)
    rate = torch.tensor(40.0)
    (drawn,) = draws(lambda x: (rate + rate.sqrt() * torch.randn(len(x))).round().clamp(min=0), COUNT)
    assert abs(drawn.mean() - 40) < 0.2 and abs(drawn.var() - 40) < 2
    with pytest.raises(CaptureError, match=r"test_drawn_distributions.*trunc_normal_[\s\S]*torch.erfinv"):
        draws(lambda x: nn.init.trunc_normal_(torch.empty_like(x)), 5)


def test_samples_of_gamma_numbers_have_no_gradient_and_those_of_the_advice_have() -> None:
    def sampled(kind: Callable[..., D.Distribution], method: str) -> Callable[[Tensor], Tensor]:
        def draw(x: Tensor) -> Tensor:
            with torch.enable_grad():
                own = (x * 0.0 + 0.5).requires_grad_()
                drawn = getattr(kind(own, torch.ones_like(own), validate_args=False), method)()
                (gradient,) = torch.autograd.grad((drawn * own).sum(), own)
            return gradient

        return draw

    with pytest.raises(CaptureError, match=r"take \.sample\(\) instead of \.rsample\(\).*LogNormal"):
        captured(drawing_step(sampled(D.Gamma, "rsample"), 5))
    captured(drawing_step(sampled(D.Gamma, "sample"), 5))
    captured(drawing_step(sampled(D.LogNormal, "rsample"), 5))


def test_mixup_draws_a_share_and_partners_in_every_step() -> None:
    def mixed(x: Tensor) -> Tensor:
        share = D.Beta(torch.tensor(0.4), torch.tensor(0.4), validate_args=False).sample()
        return torch.cat([share.reshape(1), torch.randperm(4).float()])

    rows = draws(mixed, 5, steps=40)
    assert stats.kstest(rows[:, 0], stats.beta(0.4, 0.4).cdf).pvalue > LEVEL
    assert (np.sort(rows[:, 1:], 1) == np.arange(4)).all() and len(np.unique(rows[:, 1:], axis=0)) > 10


def test_the_engine_draws_what_pytorch_computes_of_the_same_words() -> None:
    def draw(x: Tensor) -> Tensor:
        parts = [
            torch.empty(20).exponential_(),
            torch.empty(20).cauchy_(),
            torch.empty(20).geometric_(0.2),
            torch.normal(torch.zeros(20), 1.0),
            torch.randperm(20).float(),
            torch.multinomial(torch.arange(1.0, 9.0), 5).float(),
            torch.multinomial(torch.arange(1.0, 9.0), 15, True).float(),
            D.Gamma(torch.full((20,), 0.5), 1.0, validate_args=False).sample(),
            D.Dirichlet(torch.full((5, 4), 0.5), validate_args=False).sample().reshape(-1),
        ]
        return torch.cat(parts)

    trace = drawing_step(draw, 160)
    runner = GraphRunner(trace)
    runner.advance(1)
    job = captured(trace)
    engine = Engine(job.program, threads=1, target=Target.host(0))
    with engine.start(job.state, job.constants) as session:
        session.advance(1)
        drawn = np.array(session.state()[job.state_names.index("model.drawn")])
    np.testing.assert_allclose(drawn, runner.values["model.drawn"].numpy(), rtol=3e-5, atol=1e-6)
