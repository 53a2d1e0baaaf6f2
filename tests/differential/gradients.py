"""Stopped, inner and changed gradients: detach, no_grad, autograd.grad, checkpoints, functions of one's own."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL, Node
from differential.writer import Writer

STATEMENTS = (
    "x = x + x.detach()",
    "x = x.detach() * x",
    "x = x - x.detach().mean()",
    "x = (x > 0).float().detach() * x",
    "x = x + (x.round() - x).detach()",
    "x = x + (x.sign() - x).detach() * 0.1",
    "x = x * x.data.abs()",
    "x = x.requires_grad_() if x.is_leaf else x",
)


def statement(w: Writer, r: Random, row: str) -> None:
    w.do(row)


MODEL.table("stop", dict.fromkeys(STATEMENTS, 0.3), statement)


@MODEL.production("no_grad", 1, holds=True)
def no_grad(w: Writer, r: Random, inside: tuple[Node, ...]) -> None:
    before, kept = w.shape, w.name("kept")
    w.do(f"{kept} = x")
    with w.block(
        r.choice(
            (
                "with torch.no_grad():",
                "with torch.set_grad_enabled(False):",
                "with torch.inference_mode(False), torch.no_grad():",
            )
        )
    ):
        w.write_all(inside)
    same = w.shape == before
    w.x(f"x + {kept}" if same else f"x + {kept}.flatten(1).mean(1).view(-1, {', '.join('1' for _ in w.shape)})")


@MODEL.production("checkpoint", 1.2, holds=True)
def checkpoint(w: Writer, r: Random, inside: tuple[Node, ...]) -> None:
    name = w.name("part")
    with w.block(f"def {name}(x):"):
        w.write_all(inside)
        w.do("return x")
    reentrant = r.random() < 0.2
    w.x(f"torch.utils.checkpoint.checkpoint({name}, x, use_reentrant={reentrant})")
    if "import torch.utils.checkpoint" not in w.top:
        w.top.append("import torch.utils.checkpoint")


@MODEL.production("gradient inside", 0.7)
def inner_gradient(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, 1)")
    with w.block("with torch.enable_grad():"):
        w.do("y = x if x.requires_grad else x.detach().requires_grad_()")
        w.do(f"energy = {layer}(y.tanh()).sum()")
        w.do("g, = torch.autograd.grad(energy, y, create_graph=True)")
    w.x("x - 0.3 * g")


@MODEL.production("functional gradient", 0.4)
def functional(w: Writer, r: Random) -> None:
    weight = w.parameter(f"torch.randn({w.shape[-1]})")
    call = r.choice(
        (
            f"torch.func.grad(lambda v: (v.tanh() * {weight}).sum())(x)",
            f"torch.func.jvp(lambda v: (v.tanh() * {weight}), (x,), (torch.ones_like(x),))[1]",
            f"torch.func.vjp(lambda v: v.tanh() * {weight}, x)[1](torch.ones_like(x))[0]",
            f"torch.autograd.functional.vjp(lambda v: v.tanh() * {weight}, x, x * 0 + 1, create_graph=True)[1]",
            f"torch.vmap(torch.func.grad(lambda v: (v.tanh() * {weight}).sum()))(x)",
        )
    )
    w.x(f"x + 0.3 * {call}")


@MODEL.production("autograd function", 0.8)
def autograd_function(w: Writer, r: Random) -> None:
    name = w.name("Own")
    backward = r.choice(
        ("grad * 0.5", "-grad", "grad * (x > 0)", "grad.clamp(-0.1, 0.1)", "grad * ctx.needs_input_grad[0]")
    )
    forward = r.choice(("x.sign()", "x.round()", "x * 2", "x.clamp(min=0)"))
    w.top += [
        f"class {name}(torch.autograd.Function):",
        "    @staticmethod",
        "    def forward(ctx, x):",
        "        ctx.save_for_backward(x)",
        f"        return {forward}",
        "",
        "    @staticmethod",
        "    def backward(ctx, grad):",
        "        x, = ctx.saved_tensors",
        f"        return {backward}",
        "",
    ]
    w.x(f"{name}.apply(x) + x")


@MODEL.production("autocast", 0.4, holds=True)
def autocast(w: Writer, r: Random, inside: tuple[Node, ...]) -> None:
    with w.block("with torch.autocast('cpu', dtype=torch.bfloat16):"):
        w.write_all(inside)
    w.x("x.float()")


@MODEL.production("rows by autograd.grad over parameters", 0.3)
def over_parameters(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    with w.block("with torch.enable_grad():"):
        w.do(f"g, = torch.autograd.grad({layer}(x).tanh().mean(), {layer}.weight, create_graph=True)")
    w.x(f"F.linear(x, {layer}.weight - 0.5 * g, {layer}.bias)")
