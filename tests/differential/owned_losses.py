"""Losses with parameters, buffers or tensors of their own, closed over by the loss."""

from __future__ import annotations

from random import Random

from differential.losses import CLASSES, head, labels, targets
from differential.nodes import LOSS
from differential.writer import Writer

CENTRES = [
    "class Centres(nn.Module):",
    "    def __init__(self):",
    "        super().__init__()",
    "        self.centres = nn.Parameter(torch.randn(4, 4))",
    "    def forward(self, out, y):",
    "        return F.cross_entropy(4 * F.normalize(out, dim=1) @ F.normalize(self.centres, dim=1).T, y)",
    "",
]
RUNNING = [
    "class Running(nn.Module):",
    "    def __init__(self):",
    "        super().__init__()",
    "        self.register_buffer('centre', torch.zeros(4))",
    "    def forward(self, out, y):",
    "        loss = F.cross_entropy(out - self.centre, y)",
    "        with torch.no_grad():",
    "            {write}",
    "        return loss",
    "",
]
WRITES = (
    "self.centre.mul_(0.5).add_(out.mean(0), alpha=0.5)",
    "self.centre = 0.5 * self.centre + 0.5 * out.mean(0).detach()",
    "self.centre.data = 0.5 * self.centre + 0.5 * out.mean(0)",
    "self.centre.copy_(0.5 * self.centre + 0.5 * out.mean(0))",
)


def criterion(w: Writer, r: Random, lines: list[str], name: str) -> None:
    head(w, CLASSES)
    labels(w, r)
    w.top += lines
    w.built.append(f"criterion = {name}()")
    w.beside.append("criterion")
    w.loss.append("return criterion(model(x), y)")


@LOSS.production("criterion with parameters", 0.7)
def parameters(w: Writer, r: Random) -> None:
    criterion(w, r, CENTRES, "Centres")
    if r.random() < 0.3:
        w.built.append("criterion.requires_grad_(False)")


@LOSS.production("criterion with a buffer", 0.5)
def buffer(w: Writer, r: Random) -> None:
    write = r.choice(WRITES)
    criterion(w, r, [line.format(write=write) for line in RUNNING], "Running")


@LOSS.production("criterion of torch.nn", 1)
def module(w: Writer, r: Random) -> None:
    head(w, CLASSES)
    w.beside.append("criterion")
    if r.random() < 0.5:
        labels(w, r)
        kind = r.choice(
            (
                "nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5, 1.0]))",
                "nn.CrossEntropyLoss(label_smoothing=0.1)",
                "nn.MultiMarginLoss()",
            )
        )
    else:
        targets(w, CLASSES)
        kind = r.choice(
            ("nn.SmoothL1Loss()", "nn.HuberLoss()", "nn.MSELoss()", "nn.CosineEmbeddingLoss()", "nn.L1Loss()")
        )
    w.built.append(f"criterion = {kind}")
    w.loss.append(
        "return criterion(model(x), y)" if "Cosine" not in kind else "return criterion(model(x), y, torch.ones(len(y)))"
    )


@LOSS.production("learned weights of tasks", 0.4)
def tasks(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    holder = r.choice(
        (
            "nn.ParameterList([torch.zeros(()), torch.zeros(())])",
            "nn.Parameter(torch.zeros(2))",
            "torch.zeros(2, requires_grad=True)",
        )
    )
    w.built.append(f"logs = {holder}")
    w.beside.append("logs")
    w.loss += [
        "out = model(x)",
        "first, second = F.mse_loss(out, y), F.l1_loss(out, y)",
        "return first * torch.exp(-logs[0]) + logs[0] + second * torch.exp(-logs[1]) + logs[1]",
    ]


@LOSS.production("teacher", 0.6)
def teacher(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    form = r.choice(
        (
            "nn.Linear(4, 4).requires_grad_(False)",
            "nn.Sequential(nn.Linear(4, 4), nn.Tanh()).eval().requires_grad_(False)",
            "nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).requires_grad_(False)",
            "nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).requires_grad_(False)",
        )
    )
    w.built.append(f"teacher = {form}")
    w.beside.append("teacher")
    w.loss += ["out = model(x)"]
    w.loss += r.choice((["with torch.no_grad():", "    wanted = teacher(y)"], ["wanted = teacher(y)"]))
    w.loss.append("return F.mse_loss(out, wanted)")


@LOSS.production("teacher that follows", 0.5)
def follower(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    if "import copy" not in w.top:
        w.top.insert(0, "import copy")
    w.built += ["import copy", "teacher = copy.deepcopy(model).requires_grad_(False)"]
    w.beside.append("teacher")
    write = r.choice(
        ("t.mul_(0.9).add_(p, alpha=0.1)", "t.lerp_(p, 0.1)", "t.copy_(p)", "t.data = 0.9 * t.data + 0.1 * p.data")
    )
    w.loss += [
        "with torch.no_grad():",
        "    for t, p in zip(teacher.parameters(), model.parameters()):",
        f"        {write}",
        "    wanted = teacher(x)",
        "return F.mse_loss(model(x), wanted) + F.mse_loss(model(x), y)",
    ]


@LOSS.production("closed-over tensor", 0.5)
def tensor(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    w.built.append("bank = torch.linspace(-1, 1, 4)")
    w.beside.append("bank")
    w.loss.append("out = model(x)")
    if r.random() < 0.5:
        w.loss.append(
            r.choice(
                (
                    "bank.mul_(0.9).add_(out.detach().mean(0), alpha=0.1)",
                    "bank.copy_(out.detach().mean(0))",
                    "bank[0] = out.detach().mean()",
                    "bank.data = out.detach().mean(0)",
                )
            )
        )
    w.loss.append("return F.mse_loss(out - bank, y)")


@LOSS.production("the model closed over", 0.3)
def closed_over(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    w.built.append("outer = model")
    w.loss.append(
        r.choice(
            (
                "return F.mse_loss(outer(x), y)",
                "return F.mse_loss(model(x), y) + 0.1 * sum(p.square().sum() for p in outer.parameters())",
            )
        )
    )


@LOSS.production("parameter taken before", 0.2)
def taken(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    w.built += ["first = next(model.parameters())"]
    w.loss.append("return F.mse_loss(model(x), y) + 0.1 * first.square().sum()")


@LOSS.production("feature by a hook", 0.3)
def feature(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    w.built += [
        "found = {}",
        "def keep(module, given, out): found.update(out=out if isinstance(out, torch.Tensor) else out[0])",
        "next(model.children()).register_forward_hook(keep)",
    ]
    w.beside.append("found")
    w.loss += ["out = model(x)", "return F.mse_loss(out, y) + 0.1 * found['out'].square().mean()"]
