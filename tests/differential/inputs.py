"""What a batch is: vectors, sequences, images, tokens, of several dtypes."""

from __future__ import annotations

from random import Random

from differential.nodes import DATA
from differential.writer import ROWS, Writer

VOCABULARY = 7


def normal(*shape: int) -> str:
    return f"rng.standard_normal(({', '.join(map(str, (ROWS, *shape)))}), dtype=np.float32)"


@DATA.production("vectors", 5)
def vectors(w: Writer, r: Random) -> None:
    w.shape = (r.choice((5, 6, 8, 12)),)
    w.data["x"] = normal(*w.shape)


@DATA.production("sequences", 3)
def sequences(w: Writer, r: Random) -> None:
    w.shape = (r.choice((3, 4, 5)), r.choice((4, 6, 8)))
    w.data["x"] = normal(*w.shape)


@DATA.production("images", 3)
def images(w: Writer, r: Random) -> None:
    w.shape = (r.choice((1, 2, 3)), r.choice((4, 5)), r.choice((4, 5)))
    w.data["x"] = normal(*w.shape)


@DATA.production("tokens", 3)
def tokens(w: Writer, r: Random) -> None:
    length, width = r.choice((3, 4, 5)), r.choice((4, 6))
    dtype = r.choice(("np.int64", "np.int64", "np.int32"))
    w.data["x"] = f"rng.integers(0, {VOCABULARY}, ({ROWS}, {length})).astype({dtype})"
    mode = r.choice(("sum", "mean", "max"))
    embedding = r.choices(
        [
            f"nn.Embedding({VOCABULARY}, {width})",
            f"nn.Embedding({VOCABULARY}, {width}, padding_idx={r.randrange(VOCABULARY)})",
            f"nn.Embedding({VOCABULARY}, {width}, max_norm=1.0)",
            f"nn.Embedding({VOCABULARY}, {width}, scale_grad_by_freq=True)",
            f"nn.Embedding({VOCABULARY}, {width}, sparse=True)",
            f"nn.EmbeddingBag({VOCABULARY}, {width}, mode={mode!r})",
        ],
        [6, 3, 1, 0.5, 0.3, 1.5],
    )[0]
    w.x(f"{w.module(embedding)}(x)", *((width,) if "Bag" in embedding else (length, width)))
    if r.random() < 0.3 and len(w.shape) == 2:
        table = length if r.random() < 0.85 else length - 1
        w.x(f"x + {w.module(f'nn.Embedding({table}, {width})')}(torch.arange(x.shape[1]))")
    if r.random() < 0.06:
        w.damage.append(f"x[{r.randrange(ROWS)}, 1] = {r.choice((VOCABULARY, VOCABULARY + 3, -1))}")


@DATA.production("bytes of images", 0.6)
def byte_images(w: Writer, r: Random) -> None:
    w.shape = (1, 4, 4)
    w.data["x"] = f"rng.integers(0, 256, ({ROWS}, 1, 4, 4), dtype=np.uint8)"
    w.x(r.choice(("x.float() / 255", "x / 255", "(x.to(torch.float32) - 128) * 0.01")))


@DATA.production("other floats", 0.6)
def other_floats(w: Writer, r: Random) -> None:
    w.shape = (6,)
    w.data["x"] = normal(6) + r.choice((".astype(np.float16)", ".astype(np.float64)"))
    w.x("x.float()")


@DATA.production("torch tensors", 0.6)
def torch_tensors(w: Writer, r: Random) -> None:
    w.shape = (6,)
    w.data["x"] = f"torch.from_numpy({normal(6)})" + r.choice(("", ".bfloat16()", ".half()"))
    w.x("x.float()")


@DATA.production("masks beside vectors", 0.8)
def masked(w: Writer, r: Random) -> None:
    w.shape = (6,)
    w.data["x"] = normal(6)
    w.x(r.choice(("x * (x > 0)", "torch.where(x > 0.5, x, -x)", "x.masked_fill(x < 0, 0.1)", "x[x == x].view_as(x)")))
