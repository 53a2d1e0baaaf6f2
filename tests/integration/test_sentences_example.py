"""Real weights on a real task: fine-tuning a published sentence encoder makes it better at what it was trained for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tallystick.capture.weights import load_weights
from tallystick.engine import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

sentences = pytest.importorskip("sentences")


def test_nothing_is_trained_on_and_tested_on() -> None:
    trained, tested = sentences.pairs()
    assert len(tested) == sentences.TESTED and len(trained) > sentences.STEPS * sentences.PAIRS
    names = [name for name, _ in trained + tested]
    texts = [text for _, text in trained + tested]
    assert len(set(names)) == len(names) and len(set(texts)) == len(texts)


@pytest.mark.slow
def test_fine_tuning_finds_more_functions() -> None:
    captured = sentences.job().capture()
    assert "model.embeddings.word_embeddings.weight" in captured.constant_names
    with Engine(captured.program, threads=2).start(captured.state, captured.constants) as session:
        session.advance(sentences.STEPS)
        state = session.state()
    values = dict(zip([*captured.state_names, *captured.constant_names], [*state, *captured.constants], strict=True))
    weights = {name.removeprefix("model."): array for name, array in values.items() if name.startswith("model.")}
    model = sentences.encoder()
    load_weights(model, weights)
    answer = sentences.predict(model)
    assert answer["found before training"] > 0.3, "the published weights were loaded"
    assert answer["found after training"] > answer["found before training"] + 0.03
