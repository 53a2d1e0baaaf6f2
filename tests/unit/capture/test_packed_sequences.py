"""Recurrent layers over packed sequences, whose lengths are data: outputs, states and gradients of eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from eager_training import GraphRunner, train_eagerly
from lowered_operators import capture_function, gradients
from tallystick.capture import capture_training
from tallystick.capture.optimizers.adam import Adam
from tallystick.capture.training import trace_training
from tallystick.engine import Engine
from tallystick.errors import CaptureError

ROWS, STEPS, WIDTH = 4, 4, 3

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: nn.LSTM(WIDTH, 4),
    "LSTM, both ways, two layers": lambda: nn.LSTM(WIDTH, 4, num_layers=2, bidirectional=True, batch_first=True),
    "LSTM without bias": lambda: nn.LSTM(WIDTH, 4, bias=False),
    "LSTM projected": lambda: nn.LSTM(WIDTH, 4, num_layers=2, proj_size=2, bidirectional=True),
    "LSTM projected without bias": lambda: nn.LSTM(WIDTH, 4, proj_size=2, bias=False),
    "GRU": lambda: nn.GRU(WIDTH, 4, batch_first=True),
    "GRU, both ways, two layers": lambda: nn.GRU(WIDTH, 4, num_layers=2, bidirectional=True),
    "RNN": lambda: nn.RNN(WIDTH, 4, bidirectional=True),
    "RNN with relu": lambda: nn.RNN(WIDTH, 4, nonlinearity="relu", bias=False),
}


def results_of(function: Callable[..., Any], *tensors: Tensor) -> list[np.ndarray]:
    traced, _ = capture_function(function, *tensors)
    runner = GraphRunner(traced)
    runner.advance(1)
    return [runner.values[name].numpy() for name in sorted(runner.values) if name.startswith("result.")]


def packed_and_back(network: nn.Module, is_sorted: bool, states: bool, batch_first: bool) -> Callable[..., Tensor]:
    """Everything that a network gives for packed rows, in one tensor."""

    def function(x: Tensor, h: Tensor, lengths: Tensor) -> Tensor:
        rows = x if batch_first else x.transpose(0, 1)
        packed = pack_padded_sequence(rows, lengths, batch_first=batch_first, enforce_sorted=is_sorted)
        first = None
        if states:
            of_layers = first_states(network, h)
            first = of_layers if isinstance(network, nn.LSTM) else of_layers[0]
        out, last = network(packed, first)
        padded, found = pad_packed_sequence(out, batch_first=batch_first, total_length=STEPS + 1, padding_value=-2.0)
        last = last if isinstance(last, tuple) else (last,)
        parts = [padded, *last, found.float(), 0.0 * (x.sum() + h.sum())]
        return torch.cat([part.reshape(-1) for part in parts])

    return function


def first_states(network: nn.Module, h: Tensor) -> tuple[Tensor, Tensor]:
    """First states cut from a tensor: h, and c of an LSTM, whose h may be narrower."""
    layers = network.num_layers * (2 if network.bidirectional else 1)
    width = getattr(network, "proj_size", 0) or network.hidden_size
    return h[:layers, :, :width], h[-layers:, :, : network.hidden_size].sin()


@pytest.mark.parametrize("name, is_sorted", [("LSTM", True), *zip(NETWORKS, [False, True] * 5, strict=False)])
def test_packed_networks_are_those_of_eager_pytorch(name: str, is_sorted: bool) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    x = torch.randn(ROWS, STEPS, WIDTH, requires_grad=True)
    h = torch.randn(4, ROWS, 4, requires_grad=True)
    lengths = torch.tensor([4, 3, 3, 1]) if is_sorted else torch.tensor([2, 4, 1, 4])
    function = gradients(packed_and_back(network, is_sorted, not is_sorted, network.batch_first))
    for ours, theirs in zip(results_of(function, x, h, lengths), function(x, h, lengths), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)


class Tagger(nn.Module):
    """Words of sentences of different lengths; dropout is drawn, but drops nothing here."""

    def __init__(self, cell: type[nn.RNNBase], repacked: bool) -> None:
        super().__init__()
        self.embed, self.repacked = nn.Embedding(9, 3), repacked
        self.rnn = cell(3, 4, batch_first=True, bidirectional=True, num_layers=2, dropout=0.0)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        if self.repacked:
            packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
            packed = PackedSequence(self.embed(packed.data) * 0.5 + self.embed.weight[0], *packed[1:])
        else:
            packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        out, last = self.rnn(packed)
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=words.shape[1])
        last = last[0] if isinstance(last, tuple) else last
        return self.head(out.sum(1) + torch.cat([last[-2], last[-1]], -1))


def job(model: nn.Module, lengths: np.ndarray | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, 24) if lengths is None else lengths
    data = {"words": rng.integers(0, 9, (24, 4)), "lengths": lengths, "y": rng.integers(0, 3, 24)}

    def loss(model: nn.Module, words: Tensor, lengths: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(words, lengths), y)

    return {"model": model, "loss": loss, "optimizer": Adam(1e-2), "data": data, "batch_size": 6, "steps": 12}


def losses_of(job: dict[str, Any]) -> np.ndarray:
    """Losses of the traced graph, run by PyTorch's kernels."""
    runner = GraphRunner(trace_training(**job))
    runner.advance(job["steps"])
    return runner.losses


@pytest.mark.parametrize("cell, repacked", [(nn.LSTM, False), (nn.GRU, True)])
def test_the_curve_is_that_of_eager_pytorch(cell: type[nn.RNNBase], repacked: bool) -> None:
    torch.manual_seed(0)
    given = job(Tagger(cell, repacked))
    captured = capture_training(**given)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants, step=0) as session:
        session.advance(12)
        losses = dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]
    np.testing.assert_allclose(losses, train_eagerly(**given)[0], rtol=1e-3)


def test_dropout_between_layers_is_drawn() -> None:
    torch.manual_seed(0)
    model = Tagger(nn.LSTM, False)
    plain = losses_of(job(model))
    model.rnn.dropout = 0.5
    assert np.abs(losses_of(job(model)) - plain).max() > 1e-2


@pytest.mark.parametrize("wrong", [0, 5])
def test_lengths_that_eager_pytorch_refuses_make_the_loss_nan(wrong: int) -> None:
    lengths = np.full(24, 3)
    lengths[5] = wrong
    torch.manual_seed(0)
    given = job(Tagger(nn.GRU, True), lengths)
    with pytest.raises((RuntimeError, ValueError)):
        train_eagerly(**given)
    assert np.isnan(losses_of(given)).any()


def test_a_length_that_depends_on_data_is_refused_with_what_to_write() -> None:
    class Shorter(Tagger):
        def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
            packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
            out, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
            return self.head(out.sum(1))

    with pytest.raises(CaptureError, match=r"at test_packed_sequences.py:\d+ forward: out, _ = .*total_length=x.shape"):
        capture_training(**job(Shorter(nn.LSTM, False)))


def test_looking_at_the_rows_is_refused_with_what_to_write() -> None:
    class Looking(Tagger):
        def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
            packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
            return self.head(self.rnn(packed)[0].data.mean(0, keepdim=True)).expand(len(words), 3)

    with pytest.raises(CaptureError, match=r"mean is used on the rows of a packed sequence at test_pack[^\n]*forward"):
        capture_training(**job(Looking(nn.LSTM, False)))
