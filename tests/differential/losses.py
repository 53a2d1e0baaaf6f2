"""Losses: those of ``torch.nn.functional`` with their options, and some written out."""

from __future__ import annotations

from random import Random

from differential.inputs import normal
from differential.nodes import LOSS
from differential.writer import ROWS, Writer

CLASSES = 4


def labels(w: Writer, r: Random, count: int = CLASSES, *shape: int) -> None:
    w.data["y"] = f"rng.integers(0, {count}, ({', '.join(map(str, (ROWS, *shape)))},))"
    if r.random() < 0.05:
        w.damage.append(f"y[{r.randrange(ROWS)}] = {r.choice((count, -1, 255))}")


def targets(w: Writer, *shape: int) -> None:
    w.data["y"] = normal(*shape)


def head(w: Writer, size: int) -> None:
    w.project(size)


@LOSS.production("cross_entropy", 6)
def cross_entropy(w: Writer, r: Random) -> None:
    options = ""
    if r.random() < 0.25:
        options += ", weight=torch.tensor([0.5, 1.0, 2.0, 0.1])"
    if r.random() < 0.25:
        options += ", label_smoothing=0.1"
    if r.random() < 0.15:
        options += ", reduction='sum'"
    if r.random() < 0.4 and len(w.shape) >= 2:
        w.rank(2)
        length, width = w.shape
        w.x(f"{w.module(f'nn.Linear({width}, {CLASSES})')}(x)", length, CLASSES)
        labels(w, r, CLASSES, length)
        if r.random() < 0.4:
            w.damage.append("y[::3, 1] = -100")
        elif r.random() < 0.2:
            options += ", ignore_index=1"
        pair = r.choice(
            ("out.transpose(1, 2), y", "out.flatten(0, 1), y.flatten()", f"out.view(-1, {CLASSES}), y.view(-1)")
        )
        w.loss += ["out = model(x)", f"return F.cross_entropy({pair}{options})"]
        return
    head(w, CLASSES)
    if r.random() < 0.2:
        w.data["y"] = f"rng.dirichlet(np.ones({CLASSES}), {ROWS}).astype(np.float32)"
    else:
        labels(w, r)
        if r.random() < 0.15:
            options += f", ignore_index={r.choice((0, 2))}"
    w.loss.append(f"return F.cross_entropy(model(x), y{options})")


@LOSS.production("nll", 1)
def nll(w: Writer, r: Random) -> None:
    head(w, CLASSES)
    labels(w, r)
    options = r.choice(("", ", weight=torch.tensor([0.5, 1.0, 2.0, 0.1])", ", ignore_index=2", ", reduction='sum'"))
    form = r.choice(
        (
            f"F.nll_loss(model(x).log_softmax(1), y{options})",
            "-model(x).log_softmax(1).gather(1, y[:, None]).mean()",
            "-model(x).log_softmax(1)[torch.arange(len(y)), y].mean()",
            "F.multi_margin_loss(model(x), y)",
            "F.multi_margin_loss(model(x), y, p=2, margin=0.5, weight=torch.tensor([0.5, 1.0, 2.0, 0.1]))",
            f"F.mse_loss(model(x), F.one_hot(y, {CLASSES}).float())",
            f"-(F.one_hot(y, {CLASSES}) * model(x).log_softmax(1)).sum(1).mean()",
        )
    )
    w.loss.append(f"return {form}")


# Losses of an output and a target of normal numbers, both (N, 4).
REGRESSIONS = (
    "F.mse_loss(out, y)",
    "F.mse_loss(out, y, reduction='sum') * 0.05",
    "F.l1_loss(out, y)",
    "F.smooth_l1_loss(out, y, beta=0.5)",
    "F.huber_loss(out, y, delta=0.7)",
    "F.mse_loss(out, y, reduction='none').mean(1).max()",
    "F.binary_cross_entropy(out.sigmoid(), (y > 0).float())",
    "F.binary_cross_entropy(out.sigmoid(), y.sigmoid(), weight=torch.tensor([1.0, 2.0, 0.5, 1.0]))",
    "F.binary_cross_entropy_with_logits(out, (y > 0).float(), pos_weight=torch.tensor([1.0, 2.0, 0.5, 1.0]))",
    "F.binary_cross_entropy_with_logits(out, y.sigmoid())",
    "F.kl_div(out.log_softmax(1), y.softmax(1), reduction='batchmean')",
    "F.kl_div(out.log_softmax(1), y.log_softmax(1), log_target=True)",
    "F.poisson_nll_loss(out, y.abs())",
    "F.poisson_nll_loss(out.exp(), y.abs(), log_input=False, full=True)",
    "F.gaussian_nll_loss(out, y, out.square() + 0.1)",
    "F.gaussian_nll_loss(out, y, torch.ones(4), full=True)",
    "F.hinge_embedding_loss(out, y.sign())",
    "F.margin_ranking_loss(out[:, 0], out[:, 1], y[:, 0].sign(), margin=0.1)",
    "F.cosine_embedding_loss(out, y, y[:, 0].sign(), margin=0.1)",
    "F.multilabel_soft_margin_loss(out, (y > 0).float())",
    "F.multilabel_margin_loss(out, torch.tensor([[0, 2, -1, 1]]).expand(len(y), 4))",
    "F.soft_margin_loss(out, y.sign())",
    "F.triplet_margin_loss(out, y, y.flip(0), margin=0.5)",
    "F.triplet_margin_loss(out, y, y.flip(0), swap=True)",
    "F.triplet_margin_with_distance_loss(out, y, -y)",
    "(1 - F.cosine_similarity(out, y)).mean()",
    "F.pairwise_distance(out, y).mean()",
    "torch.cdist(out, y).mean()",
    "F.pdist(out).mean() + F.mse_loss(out, y)",
    "out.var(0).mean() + F.mse_loss(out, y)",
    "torch.linalg.norm(out - y)",
    "(out - y).abs().pow(1.5).mean()",
    "torch.log(torch.cosh(out - y)).mean()",
    "F.cross_entropy(out @ y.T, torch.arange(len(y)))",
    "F.cross_entropy(F.normalize(out) @ F.normalize(y).T / 0.2, torch.arange(len(y)))",
    "-torch.distributions.Normal(out, 1.0).log_prob(y).mean()",
    "-torch.distributions.Normal(out, 0.5 + out.abs(), validate_args=False).log_prob(y).mean()",
    "-torch.distributions.Categorical(logits=out).log_prob(y.argmax(1)).mean()",
    "torch.distributions.kl_divergence(*(torch.distributions.Normal(mean, 1.0) for mean in (out, y))).mean()",
    "-torch.distributions.Bernoulli(logits=out).log_prob((y > 0).float()).mean()",
    "-torch.distributions.Categorical(logits=out).entropy().mean() + F.mse_loss(out, y)",
    "torch.quantile((out - y).abs(), 0.7)",
    "torch.where(y > 0, 2 * (out - y), y - out).abs().mean()",
    "(out.T.cov() - y.T.cov()).square().mean()",
    "(out.sort(0).values - y.sort(0).values).square().mean()",
    "(torch.fft.rfft(out).abs() - torch.fft.rfft(y).abs()).square().mean()",
    "torch.sum((out - y) ** 2) / y.numel()",
    "sum(F.mse_loss(a, b) for a, b in zip(out, y))",
    "F.mse_loss(out, y).log()",
    "torch.stack([F.mse_loss(out, y), out.abs().mean()]).sum()",
    "F.mse_loss(out, y).unsqueeze(0)",
    "F.mse_loss(out.double(), y.double()).float()",
    "torch.linalg.slogdet(out.T @ out + torch.eye(4))[1] * 0.1 + F.mse_loss(out, y)",
    "torch.linalg.svdvals(out).sum() * 0.1 + F.mse_loss(out, y)",
    "torch.linalg.inv(out.T @ out + torch.eye(4)).trace()",
    "torch.linalg.cholesky(out.T @ out + torch.eye(4)).sum() * 0.1",
    "F.mse_loss(out[y[:, 0] > 0], y[y[:, 0] > 0])",
    "((out - y).square() * (y > 0)).sum() / (y > 0).sum().clamp(min=1)",
    "F.mse_loss(out, y) if y.mean() > 0 else F.l1_loss(out, y)",
    "F.mse_loss(out, y) + 0.01 * sum(p.square().sum() for p in model.parameters())",
    "F.mse_loss(out, y) + 0.01 * sum(p.abs().sum() for n, p in model.named_parameters() if 'weight' in n)",
    "F.mse_loss(out, y, weight=torch.tensor([1.0, 2.0, 0.5, 1.0]).expand_as(y))",
    "F.mse_loss(out, out.detach() + y)",
    "F.smooth_l1_loss(out, y, beta=0.0)",
)


def regression(w: Writer, r: Random, row: str) -> None:
    head(w, 4)
    targets(w, 4)
    w.loss += ["out = model(x)", f"return {row}"]


LOSS.table("loss", dict.fromkeys(REGRESSIONS, 0.3), regression)


@LOSS.production("ctc", 0.4)
def ctc(w: Writer, r: Random) -> None:
    length, width = w.sequence(4)
    w.x(f"{w.module(f'nn.Linear({width}, {CLASSES})')}(x).log_softmax(-1).transpose(0, 1)")
    w.data["y"] = f"rng.integers(1, {CLASSES}, ({ROWS}, 2))"
    w.loss.append(f"return F.ctc_loss(model(x), y, [{length}] * len(y), [2] * len(y), zero_infinity=True)")


def bare(w: Writer, r: Random, row: str) -> None:
    if r.random() < 0.8:
        head(w, 4)
    w.loss.append(f"return {row}")


BARE = (
    "model(x).square().mean()",
    "model(x).tanh().sum() * 0.1",
    "model(x).logsumexp(-1).mean()",
    "model(x).flatten(1).norm(dim=1).mean()",
    "(model(x) - x.float().mean()).square().mean()",
    "F.mse_loss(model(x), model(x.flip(0)).detach())",
    "model(x).abs().mean() + model(x).var()",
    "model(x)",
    "model(x).detach().mean()",
    "model(x).mean().item()",
    "model(x).sum().double()",
    "(model(x) > 0).float().mean()",
)
LOSS.table("bare", {row: 0.5 if row in BARE[:7] else 0.06 for row in BARE}, bare)


@LOSS.production("metrics", 1)
def metrics(w: Writer, r: Random) -> None:
    head(w, CLASSES)
    labels(w, r)
    w.loss += [
        "out = model(x)",
        "accuracy = (out.argmax(1) == y).float().mean()",
        'return F.cross_entropy(out, y), {"accuracy": accuracy, "size": out.abs().mean()}',
    ]
    w.options["metrics"] = '("accuracy", "size")'


@LOSS.production("gradient penalty", 0.6)
def penalty(w: Writer, r: Random) -> None:
    head(w, 1)
    w.loss += [
        "x = x.requires_grad_() if x.is_floating_point() else x",
        "out = model(x)",
        "if not x.requires_grad: return out.square().mean()",
        "g, = torch.autograd.grad(out.sum(), x, create_graph=True)",
        "return out.square().mean() + 0.5 * (g.flatten(1).norm(dim=1) - 1).square().mean()",
    ]


@LOSS.production("python numbers of the loss", 0.3)
def counted(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    start, lines = r.choice(
        (
            ("count = [0]", ["count[0] += 1", "return F.mse_loss(model(x), y) * min(1.0, count[0] / 4)"]),
            ("count = itertools.count(1)", ["return F.mse_loss(model(x), y) * min(1.0, next(count) / 4)"]),
            ("count = {}", ["count['n'] = count.get('n', 0) + 1", "return F.mse_loss(model(x), y) * (count['n'] / 4)"]),
            ("count = random.Random(1)", ["return F.mse_loss(model(x), y) * count.uniform(0.5, 1.5)"]),
            ("count = torch.zeros(())", ["count.add_(1)", "return F.mse_loss(model(x), y) * (count / 4)"]),
            ("count = torch.zeros(2)", ["count[0] = count[0] + 1", "return F.mse_loss(model(x), y) * (count[0] / 4)"]),
            ("count = np.zeros(1)", ["count[0] += 1", "return F.mse_loss(model(x), y) * float(count[0] / 4)"]),
            ("count = 0", ["nonlocal count", "count += 1", "return F.mse_loss(model(x), y) * min(1.0, count / 4)"]),
            (
                "count = []",
                ["count.append(model(x).detach().mean())", "return F.mse_loss(model(x), y) + 0 * len(count)"],
            ),
        )
    )
    w.built.append(start)
    w.beside.append("count")
    w.loss += lines


@LOSS.production("mixup", 0.4)
def mixup(w: Writer, r: Random) -> None:
    head(w, 4)
    targets(w, 4)
    drawn = r.choice(("float(np.random.beta(0.4, 0.4))", "random.random()", "torch.rand(())", "0.3"))
    w.loss.append(f"share = {drawn}")
    if "integers" not in w.data["x"]:
        w.loss.append("x = share * x + (1 - share) * x.flip(0)")
    w.loss.append("return F.mse_loss(model(x), share * y + (1 - share) * y.flip(0))")
