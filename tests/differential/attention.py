"""Attention: modules and functions, with masks of all kinds."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer


def even_sequence(w: Writer) -> tuple[int, int]:
    """A sequence whose vectors split into two heads."""
    length, width = w.sequence(2)
    if width % 2:
        w.x(f"{w.module(f'nn.Linear({width}, 6)')}(x)", length, 6)
        width = 6
    return length, width


MASKS = {
    "none": "None",
    "boolean": "torch.ones({t}, {t}).triu(1).bool()",
    "float": "torch.zeros({t}, {t}).masked_fill(torch.ones({t}, {t}).triu(1).bool(), float('-inf'))",
    "added": "torch.linspace(-1, 1, {t}).expand({t}, {t})",
}


@MODEL.production("MultiheadAttention", 2)
def multihead(w: Writer, r: Random) -> None:
    length, width = even_sequence(w)
    extra = r.choice(
        ("", "", ", add_zero_attn=True", ", add_bias_kv=True", f", kdim={width}, vdim={width}", ", bias=False")
    )
    layer = w.module(f"nn.MultiheadAttention({width}, 2, batch_first=True{extra})")
    mask = MASKS[r.choice(list(MASKS))].format(t=length)
    padding = r.choice(("None", "None", f"torch.arange({length}).expand(x.shape[0], {length}) >= {length - 1}"))
    if "linspace" in mask or "-inf" in mask:
        padding = "None"
    weights = r.choice(("False", "True"))
    w.do(f"y, seen = {layer}(x, x, x, attn_mask={mask}, key_padding_mask={padding}, need_weights={weights})")
    w.x("x + y")


@MODEL.production("scaled_dot_product_attention", 2)
def dot_product(w: Writer, r: Random) -> None:
    length, width = even_sequence(w)
    layer = w.module(f"nn.Linear({width}, {3 * width})")
    w.do(f"q, k, v = (p.unflatten(-1, (2, {width // 2})).transpose(1, 2) for p in {layer}(x).chunk(3, -1))")
    options = r.choice(
        (
            "",
            ", is_causal=True",
            ", scale=0.7",
            f", attn_mask=torch.ones({length}, {length}).tril().bool()",
            f", attn_mask=torch.randn({length}, {length}, generator=torch.Generator().manual_seed(0))",
            ", attn_mask=(q @ k.transpose(-1, -2)).detach() > -0.5",
        )
    )
    w.do(f"y = F.scaled_dot_product_attention(q, k, v{options})")
    w.x("y.transpose(1, 2).flatten(2)")


@MODEL.production("TransformerEncoderLayer", 1.2)
def encoder_layer(w: Writer, r: Random) -> None:
    length, width = even_sequence(w)
    options = r.choice(("", ", norm_first=True", ", activation='gelu'", ", activation=F.silu", ", bias=False"))
    layer = w.module(f"nn.TransformerEncoderLayer({width}, 2, 8, dropout=0.0, batch_first=True{options})")
    call = r.choice(
        (
            "x",
            f"x, src_mask=nn.Transformer.generate_square_subsequent_mask({length}), is_causal=True",
            f"x, src_mask=nn.Transformer.generate_square_subsequent_mask({length})",
            f"x, src_key_padding_mask=torch.arange({length}).expand(x.shape[0], {length}) >= {length - 1}",
            "x, src_key_padding_mask=x.mean(-1).cumsum(-1) > 3",
        )
    )
    w.x(f"{layer}({call})")


@MODEL.production("TransformerEncoder", 0.6)
def encoder(w: Writer, r: Random) -> None:
    length, width = even_sequence(w)
    layer = f"nn.TransformerEncoderLayer({width}, 2, 8, dropout=0.0, batch_first=True)"
    nested = r.choice(("", ", enable_nested_tensor=False"))
    made = w.module(f"nn.TransformerEncoder({layer}, 2{nested})")
    call = r.choice(
        (
            "x",
            f"x, mask=nn.Transformer.generate_square_subsequent_mask({length})",
            f"x, mask=torch.ones({length}, {length}).triu(1).bool(), is_causal=True",
            f"x, src_key_padding_mask=torch.arange({length}).expand(x.shape[0], {length}) >= {length - 1}",
        )
    )
    w.x(f"{made}({call})")


@MODEL.production("TransformerDecoderLayer", 0.5)
def decoder_layer(w: Writer, r: Random) -> None:
    length, width = even_sequence(w)
    layer = w.module(f"nn.TransformerDecoderLayer({width}, 2, 8, dropout=0.0, batch_first=True)")
    mask = r.choice(("", f", tgt_mask=nn.Transformer.generate_square_subsequent_mask({length}), tgt_is_causal=True"))
    w.x(f"{layer}(x, x.flip(1){mask})")


@MODEL.production("attention by hand", 1.2)
def by_hand(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    query, key = w.module(f"nn.Linear({width}, 4)"), w.module(f"nn.Linear({width}, 4)")
    w.do(f"scores = {query}(x) @ {key}(x).mT / 2")
    how = r.choice(
        (
            f"scores = scores.masked_fill(torch.ones({length}, {length}).triu(1).bool(), float('-inf'))",
            f"scores.masked_fill_(torch.ones({length}, {length}).triu(1).bool(), -1e9)",
            f"scores += torch.full(({length}, {length}), -1e4).triu(1)",
            "scores[..., 0] += 1.0",
            "scores.diagonal(dim1=-2, dim2=-1).mul_(0.0)",
        )
    )
    w.do(how)
    w.x("scores.softmax(-1) @ x")


@MODEL.production("rotary positions", 0.7)
def rotary(w: Writer, r: Random) -> None:
    length, width = even_sequence(w)
    if r.random() < 0.6:
        w.do(f"angle = torch.outer(torch.arange({length}), 10.0 ** -torch.linspace(0, 1, {width // 2}))")
        w.do("u, v = x.chunk(2, -1)")
        w.x("torch.cat([u * angle.cos() - v * angle.sin(), u * angle.sin() + v * angle.cos()], -1)")
    else:
        w.do(f"angle = torch.arange({length * width // 2}).view({length}, -1) * 0.1")
        w.do("turn = torch.polar(torch.ones_like(angle), angle)")
        w.x(f"torch.view_as_real(torch.view_as_complex(x.unflatten(-1, ({width // 2}, 2))) * turn).flatten(-2)")
