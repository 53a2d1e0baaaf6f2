"""State in Python: what a program cannot hold. A refusal is right here, a silent difference is wrong."""

from __future__ import annotations

from random import Random

from differential.nodes import MODEL
from differential.writer import Writer

# Each: attribute at the start, statements.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "counter": ("0", ("{a} += 1", "x = x * min(1.0, {a} / 4)")),
    "list": ("[]", ("{a}.append(1)", "x = x * (len({a}) / 4)")),
    "list of tensors": ("[]", ("{a}.append(x.detach().mean())", "x = x + {a}[0]")),
    "dict": ("{{}}", ("{a}['n'] = {a}.get('n', 0) + 1", "x = x * (0.5 + 0.1 * {a}['n'])")),
    "deque": ("collections.deque(maxlen=2)", ("{a}.append(x.detach().mean())", "x = x + sum({a}) / len({a})")),
    "iterator": ("itertools.cycle([0.5, 1.0, 1.5])", ("x = x * next({a})",)),
    "generator": ("(i / 4 for i in itertools.count(1))", ("x = x * next({a})",)),
    "flag": ("False", ("x = x * (1.0 if {a} else 0.5)", "{a} = True")),
    "tensor attribute": ("torch.zeros(())", ("{a} = 0.9 * {a} + 0.1 * x.detach().mean()", "x = x - {a}")),
    "tensor attribute in place": (
        "torch.zeros(())",
        ("{a}.mul_(0.9).add_(x.detach().mean(), alpha=0.1)", "x = x - {a}"),
    ),
    "attribute of the last batch": ("None", ("x = x if {a} is None else x + 0.1 * {a}", "{a} = x.detach()")),
    "numpy array": ("np.zeros(1, np.float32)", ("{a} += 0.1", "x = x + torch.from_numpy({a}.copy())")),
    "numpy memory": ("np.zeros(1, np.float32)", ("{a} += 0.1", "x = x + torch.from_numpy({a})")),
    "random.Random": ("random.Random(3)", ("x = x * {a}.uniform(0.5, 1.5)",)),
    "np Generator": ("np.random.default_rng(3)", ("x = x * float({a}.uniform(0.5, 1.5))",)),
    "torch Generator": ("torch.Generator().manual_seed(3)", ("x = x + 0.1 * torch.randn(x.shape, generator={a})",)),
    "random": ("0", ("x = x * random.uniform(0.5, 1.5)",)),
    "np.random": ("0", ("x = x * float(np.random.uniform(0.5, 1.5))",)),
    "random choice of a branch": ("0", ("x = x.tanh() if random.random() < 0.5 else x.relu()",)),
    "np.random permutation": ("0", ("x = x[np.random.permutation(x.shape[0])]",)),
    "seeded anew in every step": ("0", ("x = x * random.Random(5).uniform(0.5, 1.5)",)),
    "seeded numpy in every step": (
        "0",
        ("x = x + torch.from_numpy(np.random.default_rng(5).standard_normal(x.shape[-1]).astype(np.float32))",),
    ),
    "class attribute": ("0", ("Model.calls = getattr(Model, 'calls', 0) + 1", "x = x * min(1.0, Model.calls / 4)")),
    "counter that nothing reads": ("0", ("{a} += 1",)),
    "last activation that nothing reads": ("None", ("{a} = x",)),
    "last activation detached": ("None", ("{a} = x.detach()",)),
    "shape that is remembered": ("None", ("{a} = tuple(x.shape)", "x = x.view({a})")),
    "set": ("set()", ("{a}.add(len({a}))", "x = x * (len({a}) / 4)")),
    "string": ("''", ("{a} = {a} + 'a'", "x = x * (len({a}) / 4)")),
    "tensor counter": ("torch.tensor(0)", ("{a} += 1", "x = x * ({a} / 4)")),
    "value of a tensor": ("0", ("{a} = float(x.detach().mean())", "x = x + {a}")),
    "branch on a value": ("0", ("x = x if x.mean() > 0 else -x",)),
    "loop until a value": (
        "0",
        (
            "while x.abs().max() > 1:",
            "    x = x / 2",
        ),
    ),
    "nested list of counters": ("[[0]]", ("{a}[0][0] += 1", "x = x * ({a}[0][0] / 4)")),
    "object with a counter": ("type('State', (), {{'n': 0}})()", ("{a}.n += 1", "x = x * ({a}.n / 4)")),
    "parameter set anew": ("0", ("self.fresh = nn.Parameter(torch.full((x.shape[-1],), 0.5))", "x = x * self.fresh")),
    "module's mode": ("0", ("self.eval() if {a} > 2 else None", "{a} += 1", "x = F.dropout(x, 0.5, self.training)")),
    "global": ("0", ("globals()['COUNT'] = globals().get('COUNT', 0) + 1", "x = x * (COUNT / 4)")),
}


def write(w: Writer, r: Random, row: str) -> None:
    start, statements = KINDS[row]
    name = w.attribute(start.format())
    w.do(*(line.format(a=name) for line in statements))


MODEL.table("python", dict.fromkeys(KINDS, 0.09), write)
