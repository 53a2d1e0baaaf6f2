"""How parts are put together: residuals, branches, lists and dicts of modules, modules outside of the model."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL, Node
from differential.writer import Writer


@MODEL.production("residual", 1.5, holds=True)
def residual(w: Writer, r: Random, inside: tuple[Node, ...]) -> None:
    before, kept = w.shape, w.name("kept")
    w.do(f"{kept} = x")
    w.write_all(inside)
    if w.shape == before:
        w.x(f"x + {kept}")
    else:
        size = w.shape[-1]
        layer = w.module(f"nn.Linear({_product(before)}, {size})")
        w.x(f"x + {layer}({kept}.flatten(1)).view(-1, {'1, ' * (len(w.shape) - 1)}{size})")


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


@MODEL.production("two branches", 0.8, holds=True)
def branches(w: Writer, r: Random, inside: tuple[Node, ...]) -> None:
    before, kept, first = w.shape, w.name("kept"), w.name("first")
    w.do(f"{kept} = x")
    w.write_all(inside[:1])
    w.rank(1)
    size = w.shape[0]
    w.do(f"{first} = x", f"x = {kept}")
    w.shape = before
    w.write_all(inside[1:])
    w.rank(1)
    w.x(f"torch.cat([{first}, x], 1)", size + w.shape[0])


@MODEL.production("ModuleList", 0.7)
def module_list(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    layers = w.module(f"nn.ModuleList(nn.Linear({size}, {size}) for _ in range(3))")
    part = r.choice(("", "[::2]", "[:2]"))
    with w.block(f"for layer in {layers}{part}:"):
        w.do("x = x + layer(x).tanh()")


@MODEL.production("ModuleDict", 0.5)
def module_dict(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    layers = w.module(f"nn.ModuleDict({{'a': nn.Linear({size}, {size}), 'b': nn.Tanh()}})")
    w.do(f"found = {{name: layer(x) for name, layer in {layers}.items()}}")
    w.x("found['a'] + found['b']")


@MODEL.production("Sequential", 0.8)
def sequential(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    layers = w.module(f"nn.Sequential(nn.Linear({size}, 6), nn.ReLU(inplace=True), nn.Linear(6, {size}))")
    w.x(f"{layers}(x)")


@MODEL.production("lazy layer", 0.2)
def lazy(w: Writer, r: Random) -> None:
    layer = w.module("nn.LazyLinear(4)")
    w.init.append(f"{layer}(torch.zeros(1, {w.shape[-1]}))")
    w.x(f"{layer}(x)", *w.shape[:-1], 4)


@MODEL.production("scripted", 0.2)
def scripted(w: Writer, r: Random) -> None:
    layer = w.module(f"torch.jit.script(nn.Sequential(nn.Linear({w.shape[-1]}, 4), nn.Tanh()))")
    w.x(f"{layer}(x)", *w.shape[:-1], 4)


@MODEL.production("module outside of the model", 0.4)
def outside(w: Writer, r: Random) -> None:
    """A list in an attribute hides modules from ``parameters()``."""
    size = w.shape[-1]
    kind = r.choice(
        (f"nn.Linear({size}, {size})", f"nn.Linear({size}, {size}).requires_grad_(False)", f"nn.LayerNorm({size})")
    )
    name = w.attribute(f"[{kind}]")
    w.x(f"{name}[0](x)")


@MODEL.production("layer beside the model", 0.4)
def beside(w: Writer, r: Random) -> None:
    """A module that forward finds as a global."""
    name = w.name("OUTER").upper()
    size = w.shape[-1]
    kind = r.choice(
        (f"nn.Linear({size}, {size})", f"nn.BatchNorm1d({size})" if len(w.shape) == 1 else f"nn.LayerNorm({size})")
    )
    w.built.append(f"global {name}")
    w.built.append(f"torch.manual_seed(5); {name} = {kind}; named_{name.lower()} = {name}")
    w.beside.append(f"named_{name.lower()}")
    w.x(f"{name}(x)")


@MODEL.production("double precision in between", 0.3, holds=True)
def double(w: Writer, r: Random, inside: tuple[Node, ...]) -> None:
    w.x("x + x.detach().double().mean().float()")
    w.write_all(inside)


@MODEL.production("numpy in between", 0.15)
def numpy(w: Writer, r: Random) -> None:
    w.x(
        r.choice(
            (
                "x + torch.from_numpy(x.detach().numpy().mean(keepdims=True)).view(1)",
                "x + float(x.detach().numpy().mean())",
                "x * np.float32(0.5)",
                "x * np.array([0.5], np.float32)[0]",
            )
        )
    )


@MODEL.production("compiled or wrapped", 0.15)
def wrapped(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    w.built.append(
        r.choice(
            (
                "model = torch.compile(model, backend='eager')",
                "model.share_memory()",
                "model = model.to(memory_format=torch.channels_last)",
                "model.compile(backend='eager')",
                "model.train(False)",
                "model.zero_grad()",
                "model.half().float()",
            )
        )
    )
    w.x(f"{layer}(x)")
