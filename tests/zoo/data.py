"""Seeded data with something to learn in it. Every function makes the same arrays each time."""

from __future__ import annotations

import numpy as np

TOKENS = 48  # the vocabulary; 0 to 2 are padding, start and mask
PADDING, START, MASK = 0, 1, 2
IGNORED = -100
ROWS, LENGTH = 64, 12
CLASSES = 10


def sentences(rows: int = ROWS, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Tokens of which most follow from the one before, some are drawn. Shape (rows, length), int64."""
    draw = np.random.default_rng(seed)
    text = draw.integers(3, TOKENS, (rows, length))
    follows = draw.random((rows, length)) < 0.8
    for place in range(1, length):
        text[:, place] = np.where(follows[:, place], 3 + (text[:, place - 1] * 7) % (TOKENS - 3), text[:, place])
    return text


def lengths(rows: int = ROWS, length: int = LENGTH, seed: int = 1) -> np.ndarray:
    """Attention masks of rows that end early: 1 for tokens, 0 for padding. Shape (rows, length), int64."""
    used = np.random.default_rng(seed).integers(length // 2, length + 1, (rows, 1))
    return (np.arange(length) < used).astype(np.int64)


def text() -> dict[str, np.ndarray]:
    """For language models."""
    return {"input_ids": sentences()}


def padded_on_the_left() -> dict[str, np.ndarray]:
    """For language models, in batches of unequal length as for generation: labels ignore the padding."""
    mask = lengths()[:, ::-1].copy()
    words = np.where(mask == 1, sentences(), PADDING)
    return {"input_ids": words, "attention_mask": mask, "labels": np.where(mask == 1, words, IGNORED)}


def masked_text() -> dict[str, np.ndarray]:
    """For masked language models: a fifth of the tokens is hidden, only those have labels."""
    mask = lengths()
    words = np.where(mask == 1, sentences(), PADDING)
    hidden = (np.random.default_rng(2).random(words.shape) < 0.2) & (mask == 1)
    hidden[:, 1] = True
    labels = np.where(hidden, words, IGNORED)
    return {"input_ids": np.where(hidden, MASK, words), "attention_mask": mask, "labels": labels}


def translations() -> dict[str, np.ndarray]:
    """For encoders with decoders: the answer is the question from behind."""
    mask = lengths()
    words = np.where(mask == 1, sentences(), PADDING)
    return {"input_ids": words, "attention_mask": mask, "labels": sentences()[:, ::-1][:, :8].copy()}


def pictures(size: int = 16) -> dict[str, np.ndarray]:
    """Images with noise and, of the class's number, a bright bar. Shapes (rows, 3, size, size) and (rows,)."""
    draw = np.random.default_rng(3)
    labels = draw.integers(0, CLASSES, ROWS)
    images = draw.standard_normal((ROWS, 3, size, size)).astype(np.float32) * 0.5
    for image, label in zip(images, labels, strict=True):
        image[label % 3, label : label + 3] += 2.0
    return {"pixel_values": images, "labels": labels}


def captions() -> dict[str, np.ndarray]:
    """Pictures with text; which tokens come says which class it is."""
    images = pictures()
    words = sentences()
    words[:, :4] = 3 + images["labels"][:, None] * 4 + np.arange(4)
    return {"input_ids": words, "pixel_values": images["pixel_values"]}


def speech() -> dict[str, np.ndarray]:
    """Spectrograms in which every token of a text is a bright line. Shapes (rows, 8, 32) and (rows, 6)."""
    labels = sentences()[:, :6]
    sound = np.random.default_rng(4).standard_normal((ROWS, 8, 32)).astype(np.float32) * 0.3
    for row, tokens in zip(sound, labels, strict=True):
        for place, token in enumerate(tokens):
            row[token % 8, place * 5 : place * 5 + 4] += 2.0
    return {"input_features": sound, "labels": labels}


def blobs(size: int = 16) -> dict[str, np.ndarray]:
    """Noisy images and the squares in them, for segmentation. Shapes (rows, 1, size, size), float32."""
    draw = np.random.default_rng(5)
    squares = np.zeros((ROWS, 1, size, size), np.float32)
    for square, (row, column, side) in zip(squares, draw.integers(2, size // 2, (ROWS, 3)), strict=True):
        square[0, row : row + side, column : column + side] = 1.0
    noise = draw.standard_normal(squares.shape).astype(np.float32)
    return {"image": squares + 1.5 * noise, "mask": squares}


def waves(past: int = 16, future: int = 4) -> dict[str, np.ndarray]:
    """Two noisy waves and how they go on. Shapes (rows, past, 2) and (rows, future, 2), float32."""
    draw = np.random.default_rng(6)
    pace, start = draw.uniform(0.2, 0.6, (2, ROWS, 1, 2))
    both = np.sin(pace * np.arange(past + future)[:, None] + 10 * start) + 0.1 * draw.standard_normal(
        (ROWS, past + future, 2)
    )
    return {"past": both[:, :past].astype(np.float32), "future": both[:, past:].astype(np.float32)}
