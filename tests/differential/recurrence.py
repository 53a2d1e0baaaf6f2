"""Recurrent layers and cells."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer


@MODEL.production("recurrent layer", 2)
def layer(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    kind, size, both = r.choice(("RNN", "LSTM", "GRU")), r.choice((3, 4)), r.random() < 0.3
    options = f"batch_first=True, bidirectional={both}, num_layers={r.choice((1, 1, 2))}, bias={r.random() < 0.8}"
    if kind == "RNN":
        options += r.choice(("", ", nonlinearity='relu'"))
    if kind == "LSTM" and r.random() < 0.2:
        options += ", proj_size=2"
    made = w.module(f"nn.{kind}({width}, {size}, {options})")
    out = (2 if "proj_size" in options else size) * (2 if both else 1)
    w.x(f"{made}(x)[0]", length, out)


@MODEL.production("recurrent cell", 1)
def cell(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    kind = r.choice(("RNNCell", "LSTMCell", "GRUCell"))
    made = w.module(f"nn.{kind}({width}, 4)")
    w.do("seen, h = [], x.new_zeros(x.shape[0], 4)")
    if kind == "LSTMCell":
        w.do("h = (h, h)")
    with w.block(f"for t in range({length}):"):
        w.do(f"h = {made}(x[:, t], h)", "seen.append(h[0] if isinstance(h, tuple) else h)")
    w.x("torch.stack(seen, 1)", length, 4)


@MODEL.production("last state", 0.7)
def last(w: Writer, r: Random) -> None:
    _, width = w.sequence(2)
    kind = r.choice(("LSTM", "GRU"))
    made = w.module(f"nn.{kind}({width}, 4, batch_first=True)")
    w.do(f"_, h = {made}(x)")
    w.x("h[0][-1]" if kind == "LSTM" else "h[-1]", 4)


@MODEL.production("packed sequence", 0.3)
def packed(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    made = w.module(f"nn.GRU({width}, 4, batch_first=True)")
    lengths = f"torch.tensor([{length}, {length}, {length - 1}, {length - 1}])"
    w.do(f"packed = nn.utils.rnn.pack_padded_sequence(x, {lengths}, batch_first=True)")
    w.do(f"y, _ = nn.utils.rnn.pad_packed_sequence({made}(packed)[0], batch_first=True)")
    w.x("y", length, 4)


@MODEL.production("scan", 0.6)
def scan(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    gate = w.module(f"nn.Linear({width}, {width})")
    w.do("h, seen = torch.zeros_like(x[:, 0]), torch.empty_like(x)")
    with w.block(f"for t in range({length}):"):
        w.do(f"a = {gate}(x[:, t]).sigmoid()", "h = a * h + (1 - a) * x[:, t]", "seen[:, t] = h")
    w.x("seen")
