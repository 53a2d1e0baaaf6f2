"""What draws random numbers inside the step. Eager PyTorch is made to draw the same ones (see ``eager``)."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

EXPRESSIONS = (
    "F.dropout(x, 0.3)",
    "x + 0.1 * torch.randn_like(x)",
    "x * (torch.rand_like(x) < 0.8)",
    "x * torch.rand(1)",
    "x + torch.randn(x.shape[-1]) * 0.2",
    "x * torch.bernoulli(torch.full_like(x, 0.7))",
    "x + torch.empty_like(x).uniform_(-0.1, 0.1)",
    "x + torch.empty_like(x).normal_(0, 0.1)",
    "x * torch.bernoulli(x.sigmoid().detach())",
    "x + 0.1 * torch.randint(0, 3, x.shape)",
    "F.alpha_dropout(x, 0.2)",
    "F.feature_alpha_dropout(x.unsqueeze(-1), 0.2).squeeze(-1)",
    "F.dropout1d(x.flatten(1).unsqueeze(-1), 0.3).view_as(x)",
    "x.roll(1, -1) if torch.rand(()) is None else x",
    "F.rrelu(x, training=True)",
    "x[torch.randperm(x.shape[0])]",
    "x + torch.normal(0.0, 0.1, x.shape)",
    "F.gumbel_softmax(x, dim=-1)",
    "F.gumbel_softmax(x, hard=True, dim=-1) + x",
    "x * torch.multinomial(x.flatten(1).softmax(-1), 1).view(-1, *[1] * (x.dim() - 1)) * 0.1",
    "x + torch.poisson(x.abs().detach()) * 0.1",
    "x + torch.empty_like(x).exponential_() * 0.1",
    "torch.distributions.Normal(x, 0.1).rsample()",
    "x + torch.distributions.Bernoulli(x.sigmoid()).sample()",
    "x + torch.distributions.Categorical(logits=x).sample().unsqueeze(-1) * 0.1",
    "x + torch.rand(x.shape, generator=torch.Generator().manual_seed(3))",
)
MODULES = ("Dropout(0.2)", "Dropout(0.5, inplace=True)", "AlphaDropout(0.1)", "Dropout(0.0)", "RReLU()", "Dropout(1.0)")


def expression(w: Writer, r: Random, row: str) -> None:
    w.x(row)


def module(w: Writer, r: Random, row: str) -> None:
    w.x(f"{w.module(f'nn.{row}')}(x)")


MODEL.table("draw", dict.fromkeys(EXPRESSIONS, 0.1), expression)
MODEL.table("nn", {row: 0.5 if row.startswith("Dropout") else 0.15 for row in MODULES}, module)


@MODEL.production("noise by a branch", 0.3)
def branch(w: Writer, r: Random) -> None:
    w.do("if self.training:")
    w.do("    x = x + 0.1 * torch.randn_like(x)")


@MODEL.production("reparametrisation", 0.6)
def reparametrisation(w: Writer, r: Random) -> None:
    size = w.shape[-1]
    layer = w.module(f"nn.Linear({size}, {2 * size})")
    w.do(f"mean, logvar = {layer}(x).chunk(2, -1)")
    w.x("mean + (0.5 * logvar).exp() * torch.randn_like(mean)")


@MODEL.production("layer drop", 0.3)
def layer_drop(w: Writer, r: Random) -> None:
    layer = w.module(f"nn.Linear({w.shape[-1]}, {w.shape[-1]})")
    w.do("keep = (torch.rand(x.shape[0], *[1] * (x.dim() - 1)) < 0.7) / 0.7")
    w.x(f"x + keep * {layer}(x)")
