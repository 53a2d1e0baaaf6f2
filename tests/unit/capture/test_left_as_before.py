"""After capture the user's objects are as they were, whatever happened: no tensor of the tracer stays in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.utils import parametrizations, prune, spectral_norm

import tallystick as ts
from side_by_side import BATCH, points
from tallystick.capture.reach.walk import walk
from tallystick.errors import TallystickError

DATA = points()


class Rotary(nn.Module):
    """Keeps a table, the last activation, and a buffer that it makes when it first runs."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.body, self.fails = nn.Linear(6, 3), fails
        self.cache: dict[int, Tensor] = {}
        self.log: list[Tensor] = []
        self.last: Tensor | None = None
        self.register_buffer("table", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) not in self.cache:
            self.cache[len(x)] = torch.arange(3.0).cos()
        if self.table is None:
            self.register_buffer("table", torch.ones(3), persistent=False)
        self.last = self.body(x) * self.cache[len(x)] * self.table
        if self.fails:
            raise RuntimeError("stop here")
        return self.last


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(6, 3))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "caches": Rotary,
    "caches, failing": lambda: Rotary(fails=True),
    "old weight_norm": old_weight_norm,
    "old spectral_norm": lambda: spectral_norm(nn.Linear(6, 3)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(6, 3), "weight", 0.5),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 3)),
    "recurrent": lambda: Recurrent(),
}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize("kind", MODELS)
def test_no_tensor_of_the_tracer_stays(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS[kind]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = {id(module): dict(vars(module)) for module in model.modules()}

    def job(steps: int) -> Any:
        return ts.TrainingJob(
            model=model, loss=loss, optimizer=ts.optim.SGD(0.1), data=DATA, batch_size=BATCH, steps=steps
        )

    if kind.endswith("failing"):
        with pytest.raises(TallystickError, match="stop here"):
            job(3).run(tmp_path / "run")
    else:
        run = job(3).run(tmp_path / "run")
    tensors = [tensor for _, tensor in walk([("model", model)]).tensors.values()]
    assert tensors and not any(isinstance(tensor, FakeTensor) for tensor in tensors)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    for module in model.modules():
        assert vars(module).keys() == kept[id(module)].keys()
        assert all(vars(module)[name] is value for name, value in kept[id(module)].items())
    if kind.endswith("failing"):
        return
    x = torch.from_numpy(DATA["x"])
    trained = run.model()
    assert trained is not model and not torch.equal(trained(x), model(x))
    loss(model, x, torch.from_numpy(DATA["y"])).backward()  # plain use works
    assert run.model()(x).shape == (32, 3), "also after the model was used"
    assert job(2).run(tmp_path / "second").losses is not None, "and so does a second job"
