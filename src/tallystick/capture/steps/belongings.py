"""The parameters and buffers of a job: the model's, and those of other modules that its loss uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tallystick.capture.inputs import stored_buffers
from tallystick.errors import CaptureError

MODEL, OTHERS = "model.", "loss."  # what the names of the slots begin with


@dataclass(frozen=True)
class Belonging:
    """A parameter or buffer. ``key`` names it for the optimizer, ``slot`` in the program, ``place`` in ``Borrower``.

    ``hidden``: the model holds its module where ``parameters()`` does not look.
    """

    key: str
    slot: str
    place: str
    tensor: Tensor
    hidden: bool = False


class Belongings:
    """What a job's modules hold, by key: parameters that are trained, parameters that are not, and buffers.

    The keys of the model's are their names in the model. Other modules are called as the loss's code calls them:
    ``criterion.centres`` is in the slot ``loss.criterion.centres``.
    """

    def __init__(
        self, model: nn.Module, others: Mapping[str, nn.Module] | None = None, hidden: Collection[str] = ()
    ) -> None:
        self.model, self.others = model, dict(others or {})
        self._hidden = hidden  # names of others that the model holds
        self.trained: dict[str, Belonging] = {}
        self.frozen: dict[str, Belonging] = {}
        self.buffers: dict[str, Belonging] = {}
        known: set[int] = set()
        for prefix, place, module in self._modules():
            for name, parameter in module.named_parameters():
                if id(parameter) not in known:
                    known.add(id(parameter))
                    self._add(self.trained if parameter.requires_grad else self.frozen, prefix, name, place, parameter)
            for name, buffer in stored_buffers(module).items():
                if id(buffer) not in known:
                    known.add(id(buffer))
                    self._add(self.buffers, prefix, name, place, buffer)

    def _modules(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Prefix of the keys, place in the borrower, and module."""
        yield "", MODEL, self.model
        for number, (path, module) in enumerate(self.others.items()):
            yield f"{path}." if path else "", f"other_{number}.", module

    def _add(self, group: dict[str, Belonging], prefix: str, name: str, place: str, tensor: Tensor) -> None:
        key = f"{prefix}{name}"
        if key in self.trained or key in self.frozen or key in self.buffers:
            raise CaptureError(
                f"two tensors of the job are called {key}: one is the model's, one that of another module that the "
                "loss uses. Give the variable that holds the other module another name"
            )
        slot = f"{MODEL if place == MODEL else OTHERS}{key}"
        group[key] = Belonging(key, slot, f"{place}{name}", tensor, prefix.removesuffix(".") in self._hidden)

    def all(self) -> dict[str, Belonging]:
        return {**self.trained, **self.frozen, **self.buffers}

    def refuse_hidden(self, trained: Iterable[str]) -> None:
        """Raises: CaptureError for parameters that would be trained here, and by no optimizer over ``parameters()``."""
        for key in trained:
            if self.trained[key].hidden:
                raise CaptureError(
                    f"{key} gets a gradient, and the model's parameters() do not list it, so that no optimizer of "
                    "PyTorch's would train it: hold its module in an nn.ModuleList or nn.ModuleDict, or as an "
                    "attribute; if it is not to be trained, freeze it with requires_grad_(False)"
                )

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by the name of its slot."""
        return {own.slot: own.tensor for own in self.all().values()}


class Borrower(nn.Module):
    """A module around the user's modules, which are lent other tensors while it runs."""

    def __init__(self, belongings: Belongings) -> None:
        super().__init__()
        self.model = belongings.model
        for number, module in enumerate(belongings.others.values()):
            self.add_module(f"other_{number}", module)

    def forward(self, run: Callable[[], Any]) -> Any:
        return run()
