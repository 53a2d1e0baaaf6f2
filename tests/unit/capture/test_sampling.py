"""Choosing tokens: filters against references that sort, draws against the distribution, ties, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import tallystick as ts
from generation_models import drawn_by_reference, kept_by_reference, uniforms
from lowered_operators import run_function
from tallystick.capture.steps.sampling import choose, ordered_bits, top_k, top_p, weights_of
from tallystick.engine import Engine
from tallystick.errors import UsageError

ROWS = 3


def logits(words: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 2.0, (ROWS, words)).astype(np.float32)


RULES = [
    ts.Sample(),
    ts.Sample(temperature=0.5),
    ts.Sample(top_k=1),
    ts.Sample(top_k=20),
    ts.Sample(top_k=1000),
    ts.Sample(top_p=0.3),
    ts.Sample(top_p=1.0),
    ts.Sample(temperature=1.7, top_k=25, top_p=0.8),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_filters_are_those_of_a_sorting_reference(rule: ts.Sample) -> None:
    x = logits(50)
    kept = weights_of(torch.from_numpy(x), rule).numpy() > 0
    assert (kept == np.stack([kept_by_reference(row, rule) for row in x])).all()
    (inside,) = run_function(lambda t: weights_of(t, rule) > 0, torch.from_numpy(x))
    assert (inside == kept).all()


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7])
def test_top_k_keeps_all_equals_of_the_last(k: int) -> None:
    x = np.array([[2.0, 5.0, 2.0, -0.0, 0.0, 7.0, 2.0, -np.inf]], np.float32)
    kept = top_k(torch.from_numpy(x), k).numpy()[0]
    assert (kept == (x[0] >= np.sort(x[0])[::-1][k - 1])).all()


@pytest.mark.parametrize(("p", "kept"), [(0.1, 1), (0.4, 1), (0.41, 4), (0.99, 4), (0.9999, 5)])
def test_top_p_keeps_equals_together(p: float, kept: int) -> None:
    """Shares 0.4, three times 0.1998 and 0.0006."""
    x = torch.tensor([[0.1998, 0.4, 0.1998, 0.0006, 0.1998]])
    assert int(top_p(x, p).sum()) == kept


def test_a_row_keeps_its_most_probable_token_whatever_is_asked() -> None:
    x = torch.tensor([[0.0, 1.0, 0.0]])
    assert top_p(x, 1e-6).tolist() == [[False, True, False]]


def test_bits_are_in_the_order_of_floats() -> None:
    x = np.array([-np.inf, -3.0, -1e-40, -0.0, 0.0, 1e-40, 2.0, np.inf], np.float32)
    keys = ordered_bits(torch.from_numpy(x)).numpy()
    assert keys[3] == keys[4]
    assert (np.diff(np.delete(keys, 3).astype(np.int64)) > 0).all()


def drawing(rule: ts.Sample | ts.Greedy) -> Callable[..., dict[str, Tensor]]:
    """A step that draws a token per row and notes it."""

    def step(state: dict[str, Tensor], constants: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        chosen = choose(constants["logits"], rule)
        state["drawn"][step] = chosen[None].to(torch.int32)
        return state

    return step


def draws_of(rule: ts.Sample | ts.Greedy, x: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """Shape (steps, rows)."""
    start = {"drawn": np.zeros((steps, len(x)), np.int32)}
    captured = ts.capture_program(drawing(rule), state=start, constants={"logits": x}, seed=seed)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(steps)
        return np.array(session.state()[0])


@pytest.mark.parametrize("rule", [RULES[0], RULES[-1]], ids=str)
def test_draws_are_those_of_a_reference_with_the_same_random_numbers(rule: ts.Sample) -> None:
    x, seed = logits(40, seed=5), 1 << 40
    expected = [
        [drawn_by_reference(row, rule, u) for row, u in zip(x, uniforms(seed, step, ROWS), strict=True)]
        for step in range(200)
    ]
    assert (draws_of(rule, x, 200, seed) == expected).all()


def test_draws_follow_the_distribution() -> None:
    x = np.repeat(logits(6, seed=2)[:1], 64, 0)
    drawn = draws_of(ts.Sample(temperature=1.5), x, 256, seed=7)
    share = np.exp(x[0].astype(np.float64) / 1.5)
    counts = np.bincount(drawn.reshape(-1), minlength=6)
    assert stats.chisquare(counts, share / share.sum() * counts.sum()).pvalue > 0.01


def test_greedy_takes_the_first_of_equals() -> None:
    x = np.array([[1.0, 4.0, 4.0], [2.0, 2.0, 2.0]], np.float32)
    assert draws_of(ts.Greedy(), x, 1, 0).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": 1e-46},
        {"top_p": 1e-46},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
    ],
)
def test_rules_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ts.Sample(**wrong)  # pyright: ignore[reportArgumentType]
