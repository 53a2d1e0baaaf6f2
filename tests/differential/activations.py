"""Elementwise functions and activations."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

MODULES = (
    "ReLU()",
    "ReLU6()",
    "LeakyReLU(0.1)",
    "ELU(0.7)",
    "SELU()",
    "CELU(1.3)",
    "GELU()",
    "GELU('tanh')",
    "SiLU()",
    "Mish()",
    "Softplus(2.0, 3.0)",
    "Softsign()",
    "Tanh()",
    "Sigmoid()",
    "Hardtanh(-0.7, 0.9)",
    "Hardsigmoid()",
    "Hardswish()",
    "Hardshrink(0.3)",
    "Softshrink(0.2)",
    "Tanhshrink()",
    "LogSigmoid()",
    "Threshold(0.1, 0.3)",
    "PReLU()",
    "Softmin(-1)",
    "Softmax(-1)",
    "LogSoftmax(-1)",
    "Identity()",
    "ReLU(inplace=True)",
    "ELU(inplace=True)",
    "SiLU(inplace=True)",
    "Hardtanh(inplace=True)",
    "LeakyReLU(0.2, inplace=True)",
    "Hardswish(inplace=True)",
    "Mish(inplace=True)",
    "SELU(inplace=True)",
    "Softmax2d()",
)
EXPRESSIONS = (
    "torch.sin(x)",
    "torch.cos(x)",
    "x.square()",
    "x.abs()",
    "x.abs().sqrt()",
    "(x.square() + 0.1).rsqrt()",
    "x.clamp(-1, 1)",
    "x.clamp(min=-0.5)",
    "x.tanh()",
    "x.exp().clamp(max=5)",
    "torch.log1p(x.abs())",
    "torch.expm1(x.clamp(max=1))",
    "torch.erf(x)",
    "torch.atan(x)",
    "torch.asinh(x)",
    "x.sigmoid()",
    "torch.logsumexp(x, -1, keepdim=True) - x",
    "x / (1 + x.abs())",
    "torch.where(x > 0, x, 0.1 * x)",
    "torch.maximum(x, -0.5 * x)",
    "torch.minimum(x, x.mean())",
    "torch.hypot(x, torch.ones_like(x))",
    "torch.atan2(x, x.abs() + 1)",
    "x.round() + x",
    "x.floor() * 0.1 + x",
    "x.frac() + 0.5 * x",
    "x.sign() * x",
    "torch.lerp(x, x.tanh(), 0.3)",
    "torch.addcmul(x, x, x.sigmoid(), value=0.2)",
    "x.pow(2)",
    "x.abs().pow(1.5)",
    "x.pow(3) * 0.1",
    "2.0 ** x.clamp(max=2)",
    "torch.nan_to_num(x)",
    "torch.sinc(x)",
    "x.logit(eps=0.1)",
    "torch.special.erfc(x)",
    "torch.special.i0e(x)",
    "x.remainder(1.5)",
    "torch.fmod(x, 1.5)",
    "x.deg2rad()",
    "torch.xlogy(x.abs(), x.abs() + 1)",
    "torch.logaddexp(x, -x)",
    "x.cumsum(-1) * 0.3",
    "x.softmax(-1).cumprod(-1)",
    "x - x.mean(-1, keepdim=True)",
    "x / (x.std(-1, keepdim=True) + 1)",
    "x - x.amax(-1, keepdim=True)",
    "x / x.norm(dim=-1, keepdim=True).clamp(min=0.1)",
    "F.normalize(x, dim=-1)",
    "x.var(-1, keepdim=True) + x",
    "x - x.median(-1, keepdim=True).values",
    "x.sort(-1).values",
    "x.cummax(-1).values",
    "x.logcumsumexp(-1)",
    "x * x.argmax(-1, keepdim=True)",
    "x.diff(dim=-1, prepend=x[..., :1])",
    "x.float()",
    "x + 0",
    "F.glu(torch.cat([x, x], -1), -1)",
    "(x > 0).float() + x",
    "x.half().float()",
    "x.bfloat16().float()",
    "x.double().float()",
    "-x",
    "1 / (x.square() + 1)",
    "torch.heaviside(x, torch.tensor(0.5)) + x",
    "torch.celu(x)",
    "x.prod(-1, keepdim=True) + x",
    "x.lgamma().clamp(max=3)",
    "x.digamma().clamp(-3, 3)",
    "x.erfinv().clamp(-2, 2).nan_to_num(0.5)",
    "torch.polygamma(1, x.abs() + 1)",
    "x.acosh().nan_to_num(0.3) + x",
    "F.gumbel_softmax(x, dim=-1) * 0 + x",
    "torch.copysign(x, x.sin())",
    "torch.ldexp(x, torch.tensor(1))",
    "x.sinh().clamp(-2, 2)",
)


def module(w: Writer, r: Random, row: str) -> None:
    if row == "Softmax2d()":
        w.image(2)
    w.x(f"{w.module(f'nn.{row}')}(x)")


def expression(w: Writer, r: Random, row: str) -> None:
    w.x(row)


MODEL.table("nn", dict.fromkeys(MODULES, 0.35), module)
MODEL.table("expression", dict.fromkeys(EXPRESSIONS, 0.18), expression)


@MODEL.production("nn PReLU of channels", 0.5)
def prelu(w: Writer, r: Random) -> None:
    w.x(f"{w.module(f'nn.PReLU({w.shape[0]})')}(x)")


@MODEL.production("gate", 1)
def gate(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    layer = w.module(f"nn.Linear({size}, {2 * size})")
    w.do(f"u, v = {layer}(x).chunk(2, -1)")
    w.x(r.choice(("u * v.sigmoid()", "u * F.silu(v)", "u * v.relu()", "torch.mul(u, v).tanh()")))
