"""Philox against the authors' known answers, and what is drawn with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from drawing import draws
from eager_training import GraphRunner
from side_by_side import Setup, points, train_captured
from tallystick.capture.lowerings.random import philox_block
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.steps import batches
from tallystick.capture.steps.batches import shuffled_order
from tallystick.capture.tracing.random import philox, philox_words
from tallystick.capture.training import trace_training
from tallystick.errors import CaptureError
from tallystick.ir.builder import CodeBuilder
from tallystick.spec.instructions import execute

# Random123, kat_vectors, philox4x32-10: counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize("counter, key, result", KNOWN)
def test_known_answers(counter: str, key: str, result: str) -> None:
    key0, key1 = words(key)
    assert philox(np.array([words(counter)], np.uint32), (key0, key1)).tolist() == [list(words(result))]
    b = CodeBuilder()
    c0, c1, c2, c3 = (b.word(word) for word in words(counter))
    code, _ = b.build(*philox_block(b, (c0, c1, c2, c3), (key0, key1)))
    assert execute(code, None) == list(words(result))


def test_the_order_of_many_rows_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shuffled_order(1000, 3)
    monkeypatch.setattr(batches, "ROWS_AT_ONCE", 64)
    assert (shuffled_order(1000, 3) == whole).all()


def test_the_order_is_a_permutation_that_the_seed_decides() -> None:
    assert sorted(shuffled_order(1000, 1).tolist()) == list(range(1000))
    assert shuffled_order(10, 7).tolist() == [4, 8, 6, 7, 0, 5, 1, 3, 9, 2], "jobs in the world depend on it"
    assert (shuffled_order(1000, 1) != shuffled_order(1000, 2)).any()
    assert (shuffled_order(1000, 1 << 40) != shuffled_order(1000, 0)).any(), "the upper word counts"


def test_uniform_numbers_are_the_words_of_philox() -> None:
    drawn = draws(torch.rand_like, 10, steps=3)
    for step in range(3):
        expected = (philox_words(5, 0, 3, step).reshape(-1)[:10] >> 8) * 2.0**-24
        assert drawn[step].tolist() == expected.tolist()


def test_dropout_keeps_its_probability_and_scales_what_it_keeps() -> None:
    (drawn,) = draws(lambda x: F.dropout(torch.ones_like(x), 0.3))
    assert set(np.unique(drawn)) == {np.float32(0.0), np.float32(1.0 / 0.7)}
    kept = (drawn != 0).mean()
    assert abs(kept - 0.7) < 5 * np.sqrt(0.7 * 0.3 / drawn.size)
    # Neighbours are independent.
    both = ((drawn[1:] != 0) & (drawn[:-1] != 0)).mean()
    assert abs(both - 0.49) < 0.015


def test_dropout_of_everything_and_nothing() -> None:
    assert (draws(lambda x: F.dropout(torch.ones_like(x), 1.0), 50) == 0).all()
    assert (draws(lambda x: F.dropout(torch.ones_like(x), 0.0), 50) == 1).all()


@pytest.mark.parametrize(
    "draw, mean, deviation",
    [
        (torch.rand_like, 0.5, 12**-0.5),
        (torch.randn_like, 0.0, 1.0),
        (lambda x: torch.empty_like(x).uniform_(-2.0, 4.0), 1.0, 6 * 12**-0.5),
        (lambda x: torch.empty_like(x).normal_(3.0, 2.0), 3.0, 2.0),
        (lambda x: torch.bernoulli(torch.full_like(x, 0.25)), 0.25, 0.25**0.5 * 0.75**0.5),
        (lambda x: torch.randint(-3, 4, x.shape).float(), 0.0, 2.0),
        (lambda x: torch.rand(x.shape) + torch.rand(x.shape), 1.0, 6**-0.5),
    ],
)
def test_moments(draw, mean: float, deviation: float) -> None:
    (drawn,) = draws(draw)
    assert abs(drawn.mean() - mean) < 5 * deviation / np.sqrt(drawn.size)
    assert abs(drawn.std() / deviation - 1) < 0.03


def test_integers_take_every_value_and_no_other() -> None:
    (drawn,) = draws(lambda x: torch.randint(-3, 4, x.shape).float(), 2000)
    assert set(drawn.tolist()) == {-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0}


def test_steps_seeds_and_sites_differ() -> None:
    first, second = draws(torch.rand_like, 100, steps=2)
    assert (first != second).mean() > 0.9
    assert (draws(torch.rand_like, 100, seed=6)[0] != first).mean() > 0.9
    (doubled,) = draws(lambda x: torch.rand_like(x) - torch.rand_like(x), 100)
    assert (doubled != 0).mean() > 0.9


def test_an_operator_without_a_draw_is_named_with_its_line() -> None:
    with pytest.raises(CaptureError, match=r"poisson.*test_random_draws\.py:\d+ .*: .*counted.*rate\.sqrt\(\)"):
        draws(lambda x: x + torch.poisson(torch.ones(5)).sum())  # counted


class Dropped(nn.Module):
    """Two layers with dropout, recomputed in the backward pass or not."""

    def __init__(self, recomputed: bool) -> None:
        super().__init__()
        self.recomputed = recomputed
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            x = checkpoint(drop, layer, x, use_reentrant=False) if self.recomputed else drop(layer, x)
        return x.square().sum()


def drop(layer: nn.Module, x: Tensor) -> Tensor:
    return F.dropout(torch.tanh(layer(x)), 0.5) + 0.1 * torch.randn_like(x)


def test_a_checkpoint_draws_the_same_numbers_again() -> None:
    runs = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        trace = trace_training(
            model=Dropped(recomputed),
            loss=lambda model, x: model(x),
            optimizer=SGD(0.1),
            data={"x": np.ones((2, 4), np.float32)},
            batch_size=2,
            steps=5,
        )
        drawn = {node.args for node in trace.graph.nodes if node.target is torch.ops.tallystick.philox.default}
        sites = sorted(arguments[3] for arguments in drawn)
        assert sites == list(range(6)), "a mask and twice half a normal number per layer"
        runner = GraphRunner(trace)
        runner.advance(5)
        runs.append(runner.losses)
    assert (runs[0] == runs[1]).all() and len(set(runs[0].tolist())) == 5


def test_a_loss_that_seeds_before_it_draws_is_refused_and_the_advice_works() -> None:
    def seeded(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(3)
        return F.cross_entropy(model(x + torch.randn(6)), y)

    setup, before = Setup(nn.Linear(6, 3), seeded), torch.get_rng_state()
    with pytest.raises(CaptureError, match=r"seeds PyTorch's generator(?s:.*)close over them"):
        train_captured(setup, points())
    assert (torch.get_rng_state() == before).all(), "the generator of the user is as it was"
    noise = torch.randn(6)
    train_captured(Setup(nn.Linear(6, 3), lambda model, x, y: F.cross_entropy(model(x + noise), y)), points())
