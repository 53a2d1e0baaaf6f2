"""Parameters that are more than leaves: tied, reparametrised, frozen, written by the forward pass."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer


def pair(w: Writer) -> tuple[str, str, int]:
    """Two equal linear layers on the last axis, the second a frozen copy of the first."""
    size = w.shape[-1]
    first, second = w.module(f"nn.Linear({size}, {size})"), w.module(f"nn.Linear({size}, {size})")
    w.init += [f"{second}.load_state_dict({first}.state_dict())", f"{second}.requires_grad_(False)"]
    return first, second, size


@MODEL.production("momentum encoder", 0.8)
def momentum_encoder(w: Writer, r: Random) -> None:
    first, second, _ = pair(w)
    with (
        w.block(
            r.choice(
                ("with torch.no_grad():", "with torch.no_grad():", "with torch.inference_mode(False), torch.no_grad():")
            )
        ),
        w.block(f"for k, q in zip({second}.parameters(), {first}.parameters()):"),
    ):
        w.do(
            r.choice(
                (
                    "k.mul_(0.9).add_(q, alpha=0.1)",
                    "k.copy_(0.9 * k + 0.1 * q)",
                    "k.data = 0.9 * k.data + 0.1 * q.data",
                    "k.data.mul_(0.9).add_(q.data, alpha=0.1)",
                    "k.lerp_(q, 0.1)",
                    "k.data.copy_(q.data)",
                    "k[:] = 0.9 * k + 0.1 * q",
                )
            )
        )
    w.x(f"{first}(x) - {second}(x).detach()" if r.random() < 0.5 else f"{first}(x) + {second}(x)")


@MODEL.production("target network by load_state_dict", 0.3)
def target(w: Writer, r: Random) -> None:
    first, second, _ = pair(w)
    count = w.buffer("torch.zeros((), dtype=torch.int64)")
    if r.random() < 0.6:
        w.do(f"{second}.load_state_dict({first}.state_dict())")
    else:
        w.do(f"{count} += 1")
        with w.block(f"if {count} % 2 == 0:"):
            w.do(f"{second}.load_state_dict({first}.state_dict())")
    w.x(f"{first}(x) - {second}(x)")


@MODEL.production("trained parameter clamped", 0.6)
def clamped(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    how = r.choice(
        (
            [f"{layer}.weight.data.clamp_(-0.2, 0.2)"],
            ["with torch.no_grad():", f"    {layer}.weight.clamp_(-0.2, 0.2)"],
            [
                "with torch.no_grad():",
                f"    {layer}.weight.div_({layer}.weight.norm(dim=1, keepdim=True).clamp(min=1.0))",
            ],
            [f"{layer}.weight.data = {layer}.weight.data * 0.9"],
            ["with torch.no_grad():", f"    {layer}.weight[0] = 0.0"],
            ["with torch.no_grad():", f"    {layer}.weight.copy_(F.normalize({layer}.weight, dim=1))"],
        )
    )
    w.do(*how)
    w.x(f"{layer}(x)")


@MODEL.production("parameter written after its use", 0.3)
def written_late(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    w.x(f"{layer}(x)")
    w.do(
        r.choice(
            (
                f"{layer}.bias.data.mul_(0.5)",
                f"{layer}.bias.data = {layer}.bias.data + 0.01",
                f"{layer}.weight.data.mul_(0.99)",
            )
        )
    )


@MODEL.production("codebook by averages", 0.4)
def codebook(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    codes = w.parameter(f"torch.randn(4, {size})", trained=False)
    w.do(f"flat = x.detach().reshape(-1, {size})", f"near = F.one_hot(torch.cdist(flat, {codes}).argmin(1), 4).float()")
    with w.block("with torch.no_grad():"):
        w.do(f"{codes}.mul_(0.9).add_(near.T @ flat / (near.sum(0).unsqueeze(1) + 1), alpha=0.1)")
    w.x(f"x + (near @ {codes}).view(x.shape)")


@MODEL.production("tied weights", 1)
def tied(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    first, second = w.module(f"nn.Linear({size}, {size})"), w.module(f"nn.Linear({size}, {size})")
    w.init.append(f"{second}.weight = {first}.weight")
    w.x(f"{second}({first}(x).tanh())")


@MODEL.production("one layer twice", 0.8)
def twice(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    w.x(f"{layer}({layer}(x).relu())")


@MODEL.production("transposed tie", 0.4)
def transposed_tie(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, 5, bias=False)")
    w.x(f"{layer}(x) @ {layer}.weight")


REPARAMETRISED = {
    "weight_norm": "torch.nn.utils.parametrizations.weight_norm({0})",
    "spectral_norm": "torch.nn.utils.parametrizations.spectral_norm({0})",
    "orthogonal": "torch.nn.utils.parametrizations.orthogonal({0})",
    "old weight_norm": "torch.nn.utils.weight_norm({0})",
    "old spectral_norm": "torch.nn.utils.spectral_norm({0})",
    "prune": "prune.l1_unstructured({0}, 'weight', amount=0.3)",
    "own parametrization": "parametrize.register_parametrization({0}, 'weight', Symmetric())",
}
OWN = [
    "class Symmetric(nn.Module):",
    "    def forward(self, weight):",
    "        return weight.triu() + weight.triu(1).T",
    "",
]


def reparametrised(w: Writer, r: Random, row: str) -> None:
    for line in ("import torch.nn.utils.parametrize as parametrize", "import torch.nn.utils.prune as prune"):
        if line not in w.top:
            w.top.insert(0, line)
    if "own" in row and OWN[0] not in w.top:
        w.top += OWN
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    w.init.append(REPARAMETRISED[row].format(layer))
    w.x(f"{layer}(x)")


MODEL.table("reparametrised by", dict.fromkeys(REPARAMETRISED, 0.25), reparametrised)


@MODEL.production("frozen layer", 0.8)
def frozen(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    w.init.append(r.choice((f"{layer}.requires_grad_(False)", f"{layer}.weight.requires_grad_(False)")))
    w.x(f"{layer}(x)")


@MODEL.production("low rank beside frozen", 0.5)
def low_rank(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    layer = w.module(f"nn.Linear({size}, {size})")
    w.init.append(f"{layer}.requires_grad_(False)")
    a, b = w.parameter(f"torch.randn({size}, 2) * 0.3"), w.parameter(f"torch.zeros(2, {size})")
    w.x(f"{layer}(x) + x @ {a} @ {b}")


@MODEL.production("unused parameter", 0.4)
def unused(w: Writer, r: Random) -> None:
    w.module("nn.Linear(3, 2)")


@MODEL.production("scale of each channel", 0.6)
def scale(w: Writer, r: Random) -> None:
    p = w.parameter(f"torch.ones({w.shape[-1]})")
    w.x(r.choice((f"x * {p}", f"x * {p}.exp() * 0.4", f"x * F.softplus({p})", f"x * {p}.softmax(0)")))


@MODEL.production("several parameters in a list", 0.4)
def listed(w: Writer, r: Random) -> None:
    name = w.name("list")
    w.init.append(f"self.{name} = nn.ParameterList([torch.full(({w.shape[-1]},), 0.1 * i) for i in range(3)])")
    with w.block(f"for p in self.{name}:"):
        w.do("x = x + p")
