"""Linear, convolutional, pooling and embedding layers."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer


@MODEL.production("Linear", 6)
def linear(w: Writer, r: Random) -> None:
    size = r.choice((3, 4, 6, 8))
    bias = r.choice(("", "", ", bias=False"))
    w.x(f"{w.module(f'nn.Linear({w.shape[-1]}, {size}{bias})')}(x)", *w.shape[:-1], size)


@MODEL.production("Bilinear", 0.7)
def bilinear(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    if size > 12:
        w.project(8)
        size = 8
    w.x(f"{w.module(f'nn.Bilinear({size}, {size}, 4)')}(x, x.tanh())", *w.shape[:-1], 4)


@MODEL.production("Conv1d", 2.5)
def conv1d(w: Writer, r: Random) -> None:
    channels, length = w.sequence(3)
    groups = r.choice([g for g in (1, 1, 2, channels) if channels % g == 0])
    out = groups * r.choice((1, 2)) if groups > 1 else r.choice((2, 4, 6))
    kernel, stride, dilation = r.choice((1, 2, 3)), r.choice((1, 1, 2)), r.choice((1, 1, 2))
    padding = r.choice((0, 1, "'same'", "2"))
    if padding == "'same'":
        stride = 1
    mode = r.choice(("zeros", "zeros", "zeros", "circular", "reflect", "replicate"))
    span = dilation * (kernel - 1) + 1
    pads = span - 1 if padding == "'same'" else 2 * int(padding)
    if span > length + pads or (mode != "zeros" and pads >= length):
        kernel, span, mode = 1, 1, "zeros"
    after = (length + pads - (dilation * (kernel - 1) + 1)) // stride + 1 if padding != "'same'" else length
    options = f"stride={stride}, padding={padding}, dilation={dilation}, groups={groups}, padding_mode={mode!r}"
    w.x(f"{w.module(f'nn.Conv1d({channels}, {out}, {kernel}, {options})')}(x)", out, after)


@MODEL.production("Conv2d", 3.5)
def conv2d(w: Writer, r: Random) -> None:
    channels, height, width = w.image(3)
    groups = r.choice([g for g in (1, 1, 2, channels) if channels % g == 0])
    out = groups * r.choice((1, 2)) if groups > 1 else r.choice((2, 3, 4))
    kernel = (r.choice((1, 2, 3)), r.choice((1, 2, 3)))
    stride, padding, dilation = r.choice((1, 1, 2)), r.choice((0, 1)), r.choice((1, 1, 2))
    mode = r.choice(("zeros", "zeros", "zeros", "circular", "reflect", "replicate"))
    spans = [dilation * (k - 1) + 1 for k in kernel]
    if any(span > size + 2 * padding for span, size in zip(spans, (height, width), strict=True)):
        dilation, spans = 1, list(kernel)
    after = [(size + 2 * padding - span) // stride + 1 for size, span in zip((height, width), spans, strict=True)]
    options = f"stride={stride}, padding={padding}, dilation={dilation}, groups={groups}, padding_mode={mode!r}"
    layer = w.module(f"nn.Conv2d({channels}, {out}, {kernel}, {options}, bias={r.random() < 0.7})")
    w.x(f"{layer}(x)", out, *after)
    if r.random() < 0.15:
        w.do("x = x.contiguous(memory_format=torch.channels_last)")


@MODEL.production("ConvTranspose", 1.5)
def transposed(w: Writer, r: Random) -> None:
    stride, padding, kernel, out = r.choice((1, 2)), r.choice((0, 1)), r.choice((2, 3)), r.choice((1, 2))
    extra = r.choice((0, 1)) if stride > 1 else 0
    options = f"{kernel}, stride={stride}, padding={padding}, output_padding={extra}"
    if r.random() < 0.5:
        channels, *sizes = w.image(2)
        kind = "ConvTranspose2d"
    else:
        channels, *sizes = w.sequence(2)
        kind = "ConvTranspose1d"
    after = [(size - 1) * stride - 2 * padding + kernel + extra for size in sizes]
    w.x(f"{w.module(f'nn.{kind}({channels}, {out}, {options})')}(x)", out, *after)


@MODEL.production("Conv3d", 0.4)
def conv3d(w: Writer, r: Random) -> None:
    channels, height, width = w.image(2)
    layer = w.module(f"nn.Conv3d(1, 2, 2, padding={r.choice((0, 1))})")
    w.x(f"{layer}(x.unsqueeze(1)).mean(2) if x.shape[1] > 1 else torch.cat([x, x], 1)")
    pads = 2 if "padding=1" in w.init[-1] else 0
    w.shape = (2, height - 1 + pads, width - 1 + pads) if channels > 1 else (2, height, width)


POOLS_2D = {
    "nn.MaxPool2d(2)": 2,
    "nn.MaxPool2d(3, stride=1, padding=1)": 0,
    "nn.MaxPool2d(2, stride=1, dilation=2)": -2,
    "nn.AvgPool2d(2)": 2,
    "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)": 0,
    "nn.AvgPool2d(2, stride=1, divisor_override=3)": -1,
    "nn.LPPool2d(2, 2)": 2,
}


@MODEL.production("pool of images", 1.5)
def pool2d(w: Writer, r: Random) -> None:
    channels, height, width = w.image(3)
    layer = r.choice(list(POOLS_2D))
    change = POOLS_2D[layer]
    after = (height // 2, width // 2) if change == 2 else (height + change, width + change)
    w.x(f"{w.module(layer)}(x)", channels, *after)


@MODEL.production("adaptive pool", 1)
def adaptive(w: Writer, r: Random) -> None:
    kind = r.choice(("Avg", "Max"))
    if r.random() < 0.5:
        channels, _, _ = w.image(2)
        w.x(f"{w.module(f'nn.Adaptive{kind}Pool2d((2, 3))')}(x)", channels, 2, 3)
    else:
        channels, _ = w.sequence(2)
        w.x(f"{w.module(f'nn.Adaptive{kind}Pool1d(2)')}(x)", channels, 2)


@MODEL.production("pool of sequences", 0.8)
def pool1d(w: Writer, r: Random) -> None:
    channels, length = w.sequence(3)
    if length < 3:
        return
    layer, after = r.choice(
        (("nn.MaxPool1d(2)", length // 2), ("nn.AvgPool1d(2)", length // 2), ("nn.MaxPool1d(3, 1, 1)", length))
    )
    w.x(f"{w.module(layer)}(x)", channels, after)


@MODEL.production("max pool and back", 0.5)
def unpool(w: Writer, r: Random) -> None:
    _, height, width = w.image(3)
    w.do("y, places = F.max_pool2d(x, 2, return_indices=True)")
    w.x(f"F.max_unpool2d(y, places, 2, output_size=({height}, {width}))")


@MODEL.production("pads and shuffles", 1)
def pads(w: Writer, r: Random) -> None:
    channels, height, width = w.image(3)
    layer = r.choice(
        (
            "ReflectionPad2d(1)",
            "ReplicationPad2d(1)",
            "ZeroPad2d((1, 0, 0, 2))",
            "ConstantPad2d(1, 0.5)",
            "CircularPad2d(1)",
        )
    )
    after = (height + 2, width + 1) if "Zero" in layer else (height + 2, width + 2)
    w.x(f"{w.module(f'nn.{layer}')}(x)", channels, *after)


@MODEL.production("resampling", 1)
def resampling(w: Writer, r: Random) -> None:
    channels, height, width = w.image(2)
    mode = r.choice(("nearest", "bilinear", "bicubic", "area", "nearest-exact"))
    corners = f", align_corners={r.random() < 0.5}" if mode in ("bilinear", "bicubic") else ""
    size = r.choice(((3, 3), (height + 1, width + 2), (2, 5)))
    w.x(f"F.interpolate(x, size={size}, mode={mode!r}{corners})", channels, *size)


@MODEL.production("PixelShuffle", 0.4)
def pixel_shuffle(w: Writer, r: Random) -> None:
    channels, height, width = w.image(2)
    w.x("F.pixel_shuffle(torch.cat([x, x, -x, 2 * x], 1), 2)", channels, 2 * height, 2 * width)


@MODEL.production("grid_sample", 0.5)
def grid_sample(w: Writer, r: Random) -> None:
    channels, height, width = w.image(3)
    layer = w.module("nn.Linear(2, 6)")
    w.do(f"theta = {layer}(x.mean((2, 3))[:, :1].repeat(1, 2)).view(-1, 2, 3)")
    w.do(f"grid = F.affine_grid(theta, (x.shape[0], {channels}, {height}, {width}), align_corners=False)")
    mode = r.choice(("zeros", "border"))
    w.x(f"F.grid_sample(x, grid, padding_mode={mode!r}, align_corners=False)")


@MODEL.production("unfold and fold", 0.6)
def unfold(w: Writer, r: Random) -> None:
    _, height, width = w.image(3)
    w.do("y = F.unfold(x, 3, padding=1)")
    w.x(f"F.fold(y.tanh(), ({height}, {width}), 3, padding=1) / 3")


@MODEL.production("cosine and distances", 0.8)
def distances(w: Writer, r: Random) -> None:
    length, _ = w.sequence(2)
    w.x(
        r.choice(("torch.cdist(x, x.detach() + 1)", "F.cosine_similarity(x.unsqueeze(1), x.unsqueeze(2), dim=-1)")),
        length,
        length,
    )


@MODEL.production("products", 1.5)
def products(w: Writer, r: Random) -> None:
    length, width = w.sequence(2)
    expression, shape = r.choice(
        (
            ("x @ x.transpose(1, 2) * 0.3", (length, length)),
            ("torch.einsum('btd,bsd->bts', x, x.tanh())", (length, length)),
            ("torch.bmm(x.transpose(1, 2), x) / 4", (width, width)),
            ("torch.einsum('btd,btd->bt', x, x)", (length,)),
            ("torch.baddbmm(x, x @ x.transpose(1, 2), x, alpha=0.1)", (length, width)),
            ("torch.matmul(x, x[0].T)", (length, length)),
            ("torch.linalg.vector_norm(x, dim=-1)", (length,)),
            ("torch.tensordot(x, x[:, 0], dims=([2], [1]))[..., :2]", (length, 2)),
            ("torch.outer(x.mean((0, 2)), x.mean((0, 1))) + x", (length, width)),
            ("torch.kron(x[:, 0], torch.ones(1, 2))", (2 * width,)),
        )
    )
    w.x(expression, *shape)
