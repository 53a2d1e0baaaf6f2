"""Preparing data inside a program: exactly what numpy makes of it where the mathematics is exact, nearly elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tallystick as ts
from lowered_operators import run_function
from tallystick import preprocess
from tallystick.capture.tracing.random import philox_words
from tallystick.engine import Engine

State = dict[str, Tensor]


def drawn(step: int, site: int, count: int, seed: int = 3) -> np.ndarray:
    """The numbers in [0, 1) of one random operator."""
    words = philox_words(seed, site, -(-count // 4), step).reshape(-1)[:count]
    return (words >> 8).astype(np.float32) * np.float32(2.0**-24)


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 6, 7)).astype(np.uint8)


def after(function: Callable[[Tensor], Tensor], x: np.ndarray, steps: int = 2) -> np.ndarray:
    """What a function makes of x in the last of some steps."""
    like = function(torch.from_numpy(x)).numpy()
    captured = ts.capture_program(
        lambda state, constants: {"out": function(constants["x"])},
        state={"out": np.zeros_like(like)},
        constants={"x": x},
        seed=3,
    )
    with Engine(captured.program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(steps)
        return np.array(session.state()[0])


# TABLES
def test_columns_are_standardised() -> None:
    x = np.random.default_rng(1).normal(100.0, 5.0, (300, 5)).astype(np.float32)
    x[:, 2] = 7.0
    x[:, 4] = 0.1  # of which 300 have another mean, rounded
    (z,) = run_function(lambda t: preprocess.standardise(t, *preprocess.mean_and_std(t)), torch.from_numpy(x))
    exact = x.astype(np.float64)
    std = np.where(exact.std(0) < 1e-12, 1.0, exact.std(0))
    np.testing.assert_allclose(z, (exact - exact.mean(0)) / std, atol=2e-5)
    assert (z[:, [2, 4]] == 0.0).all()


def test_labels_become_ones_and_zeros() -> None:
    labels = np.array([[0, 3], [2, 5]])
    (hot,) = run_function(lambda t: preprocess.one_hot(t, 4), torch.from_numpy(labels))
    assert (hot == np.stack([np.eye(4)[[0, 3]], [np.eye(4)[2], np.zeros(4)]])).all()


# IMAGES
def test_images_are_normalised() -> None:
    x, mean, std = images(), [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    (found,) = run_function(lambda t: preprocess.normalise_images(t, mean, std), torch.from_numpy(x))
    centre, scale = (np.array(v).reshape(1, 3, 1, 1) for v in (mean, std))
    np.testing.assert_allclose(found, (x / 255.0 - centre) / scale, rtol=1e-6, atol=1e-6)


def test_crops_are_where_the_random_numbers_say() -> None:
    x = images()
    found = after(lambda t: preprocess.random_crop(t, (4, 6), padding=2), x, steps=2)
    padded = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)])
    tops, lefts = ((drawn(1, site, 5) * places).astype(int) for site, places in ((0, 7), (1, 6)))
    assert len({*tops, *lefts}) > 2
    for image, crop, top, left in zip(padded, found, tops, lefts, strict=True):
        assert (crop == image[:, top : top + 4, left : left + 6]).all()


def test_images_are_mirrored_where_the_random_numbers_say() -> None:
    x = images(16)
    found = after(lambda t: preprocess.random_flip(t, 0.4), x, steps=3)
    flipped = drawn(2, 0, 16) < 0.4
    assert 0 < flipped.sum() < 16
    assert (found == np.where(flipped[:, None, None, None], x[..., ::-1], x)).all()


def test_images_are_augmented_inside_a_training_step() -> None:
    """The same losses as a job on data that was augmented beforehand with the same random numbers."""
    x, y = images(8), np.arange(8) % 3

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3 * 4 * 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(1))

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = preprocess.random_flip(preprocess.random_crop(x, (4, 4), padding=1))
        return nn.functional.cross_entropy(model(preprocess.normalise_images(x, [0.5] * 3, [0.25] * 3)), y)

    captured = ts.capture_training(
        model=Net(), loss=loss, optimizer=ts.optim.SGD(lr=0.1), data={"x": x, "y": y}, batch_size=4, steps=4, seed=3
    )
    with Engine(captured.program, threads=1).start(captured.state, captured.constants) as session:
        session.advance(4)
        losses = dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]
    order = captured.constants[captured.constant_names.index("order")]
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    for step in range(4):
        rows = order[(step * 4 + np.arange(4)) % 8]
        tops, lefts = ((drawn(step, site, 4) * places).astype(int) for site, places in ((0, 5), (1, 6)))
        crops = np.stack([padded[r, :, t : t + 4, e : e + 4] for r, t, e in zip(rows, tops, lefts, strict=True)])
        batch = np.where((drawn(step, 2, 4) < 0.5)[:, None, None, None], crops[..., ::-1], crops)
        optimizer.zero_grad()
        scaled = (torch.from_numpy(np.ascontiguousarray(batch)).float() / 255 - 0.5) / 0.25
        value = nn.functional.cross_entropy(model(scaled), torch.from_numpy(y[rows]))
        value.backward()
        optimizer.step()
        np.testing.assert_allclose(losses[step], value.item(), rtol=1e-5)


# TEXT
def packed_by_reference(documents: list[np.ndarray], length: int, padding: int) -> list[np.ndarray]:
    """Token by token."""
    stream = [(token, number, place) for number, d in enumerate(documents) for place, token in enumerate(d)]
    windows = -(-len(stream) // length)
    tokens, segments, positions = (np.full(windows * length, start) for start in (padding, -1, 0))
    for at, (token, number, place) in enumerate(stream):
        first = at - at % length
        tokens[at] = token
        segments[at] = len({other for _, other, _ in stream[first : at + 1]}) - 1
        positions[at] = min(place, at - max(i for i in range(first, at + 1) if i == first or stream[i][2] == 0))
        assert stream[at][1] == number
    return [x.reshape(windows, length) for x in (tokens, segments, positions)]


@pytest.mark.parametrize("lengths", [[3, 0, 5, 1, 7, 0, 2, 0], [4, 4], [1], [9], [0, 0, 2]])
def test_documents_are_packed(lengths: list[int]) -> None:
    rng = np.random.default_rng(len(lengths))
    documents = [rng.integers(1, 50, length) for length in lengths]
    stream = torch.from_numpy(np.concatenate(documents))
    found = run_function(lambda t, n: tuple(preprocess.pack(t, n, 4, padding=99)), stream, torch.tensor(lengths))
    for mine, reference in zip(found, packed_by_reference(documents, 4, 99), strict=True):
        assert (mine == reference).all()


def test_tokens_see_only_their_own_document() -> None:
    segments = np.array([[0, 0, 1, 1], [0, 1, -1, -1]])
    (mask,) = run_function(preprocess.packed_mask, torch.from_numpy(segments))
    for row, found in zip(segments, mask[:, 0], strict=True):
        for i in range(4):
            assert found[i].tolist() == [j <= i and row[i] == row[j] for j in range(4)]
