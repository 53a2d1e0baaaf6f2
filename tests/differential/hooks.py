"""Hooks: on activations, on parameters, after accumulation, on modules."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

CHANGES = (
    "grad * 0.5",
    "grad.clamp(-0.01, 0.01)",
    "-grad",
    "grad * 0",
    "grad / (grad.norm() + 1)",
    "torch.where(grad > 0, grad, 0.1 * grad)",
)


def layer_of(w: Writer) -> str:
    return w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")


def outside(layer: str) -> str:
    return "model." + layer.removeprefix("self.")


@MODEL.production("hook on an activation", 0.7)
def activation(w: Writer, r: Random) -> None:
    w.do("x = x * 1")
    with w.block("if x.requires_grad:"):
        w.do(f"x.register_hook(lambda grad: {r.choice(CHANGES)})")


@MODEL.production("hook on a parameter", 0.8)
def parameter(w: Writer, r: Random) -> None:
    layer = layer_of(w)
    w.built.append(f"{outside(layer)}.weight.register_hook(lambda grad: {r.choice(CHANGES)})")
    w.x(f"{layer}(x)")


@MODEL.production("hook on a frozen parameter", 0.2)
def frozen_parameter(w: Writer, r: Random) -> None:
    layer = layer_of(w)
    w.built.append(f"{outside(layer)}.weight.register_hook(lambda grad: {r.choice(CHANGES)})")
    w.built.append(f"{outside(layer)}.requires_grad_(False)")
    w.x(f"{layer}(x)")


@MODEL.production("post-accumulate hook", 0.5)
def accumulated(w: Writer, r: Random) -> None:
    layer = layer_of(w)
    change = r.choice(
        ("p.grad.mul_(0.5)", "p.grad.clamp_(-0.01, 0.01)", "setattr(p, 'grad', p.grad * 0.3)", "p.grad.zero_()")
    )
    w.built.append(f"{outside(layer)}.weight.register_post_accumulate_grad_hook(lambda p: ({change}, None)[1])")
    w.x(f"{layer}(x)")


@MODEL.production("module hook", 1)
def module(w: Writer, r: Random) -> None:
    layer = layer_of(w)
    at = outside(layer)
    w.built.append(
        r.choice(
            (
                f"{at}.register_forward_hook(lambda module, given, out: out.tanh())",
                f"{at}.register_forward_pre_hook(lambda module, given: (given[0] * 0.5,))",
                f"{at}.register_full_backward_hook(lambda module, gin, gout: (gin[0] * 0.5,))",
                f"{at}.register_full_backward_pre_hook(lambda module, gout: (gout[0] * 0.5,))",
                f"{at}.register_forward_hook(lambda module, given, out: (out, print)[0])",
            )
        )
    )
    w.x(f"{layer}(x)")


@MODEL.production("hook that remembers", 0.3)
def remembers(w: Writer, r: Random) -> None:
    layer = layer_of(w)
    w.built += [
        "seen = []",
        f"{outside(layer)}.register_forward_hook(lambda module, given, out: seen.append(out.detach()))",
    ]
    if "seen" not in w.beside:
        w.beside.append("seen")
    w.x(f"{layer}(x)")


@MODEL.production("hook that writes a parameter", 0.2)
def writes(w: Writer, r: Random) -> None:
    layer = layer_of(w)
    hook = "lambda module, given: module.weight.data.clamp_(-0.3, 0.3) and None"
    hook = hook if r.random() < 0.3 else "lambda module, given: (module.weight.data.clamp_(-0.3, 0.3), None)[1]"
    w.built.append(f"{outside(layer)}.register_forward_pre_hook({hook})")
    w.x(f"{layer}(x)")
