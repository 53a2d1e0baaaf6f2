"""Capturing any stateful step: a function from state to state, run over and over."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tallystick.capture.inputs import Input, Role, from_array, from_tensor, stored_buffers
from tallystick.capture.reach.world import World
from tallystick.capture.steps.training_step import checked_input
from tallystick.capture.tracing.provenance import SourceRecorder
from tallystick.capture.tracing.random import SEEDS, Sampler
from tallystick.capture.tracing.trace import Trace, trace
from tallystick.capture.training import captured, explained
from tallystick.capture.watching.surroundings import Range, Surroundings
from tallystick.capture.watching.watch import Watch
from tallystick.errors import CaptureError
from tallystick.ir.captured import Captured

StepFunction = Callable[..., Mapping[str, Tensor]]
ARGUMENTS: tuple[str, ...] = ("state", "constants", "step", "model")
MODEL = "model."


def capture_program(
    step: StepFunction,
    *,
    state: Mapping[str, object],
    constants: Mapping[str, object] | None = None,
    model: nn.Module | None = None,
    seed: int = 0,
    steps: int | None = None,
    ranges: Mapping[str, Range] | None = None,
    within: Mapping[str, Range] | None = None,
    roots: Mapping[str, object] | None = None,
) -> Captured:
    """The program that one call of ``step`` is, with its start state and its constants.

    ``step``       called with those of these arguments that it names, and returns the new state: a dict with the same
                   names, shapes and dtypes. ``state`` and ``constants`` are dicts of tensors, ``step`` is the number of
                   the step (int64, shape (1,)), ``model`` the model.
    ``state``      arrays or tensors by name: what the first step is given
    ``constants``  arrays or tensors by name that every step reads
    ``model``      a module, in the mode (training or evaluation) it is in; its parameters and buffers are constants
                   ``model.*``, and buffers that the step changes are state
    ``seed``       of what is drawn at random inside the step, together with the step's number
    ``steps``      how many there will be, if that is known: what is indexed by their number needs no check then
    ``ranges``     (lowest, highest) of integers in the state, by name, where the caller knows them: indices made of
    them
                   need no check while the program runs
    ``within``     the same where not all of these integers need occur
    ``roots``      other objects by name that the step uses, where it does not hold them itself

    State may be changed in place. Neither the arguments nor PyTorch's global state are changed, nor is anything that
    the step reaches.

    Raises: CaptureError naming what cannot be captured, and the user's line where there is one.
    """
    traced = trace_program(
        step,
        state=state,
        constants=constants,
        model=model,
        seed=seed,
        steps=steps,
        ranges=ranges,
        within=within,
        roots=roots,
    )
    return captured(traced)


def trace_program(
    step: StepFunction,
    *,
    state: Mapping[str, object],
    constants: Mapping[str, object] | None = None,
    model: nn.Module | None = None,
    seed: int = 0,
    steps: int | None = None,
    ranges: Mapping[str, Range] | None = None,
    within: Mapping[str, Range] | None = None,
    roots: Mapping[str, object] | None = None,
) -> Trace:
    """The traced step; see ``capture_program``."""
    with torch.random.fork_rng(devices=[]), explained():
        made = ProgramStep(step, state, constants or {}, model, seed)
        own: dict[str, Tensor] = {}
        if model is not None:
            own = {**dict(model.named_parameters()), **stored_buffers(model)}
        world = World([("model", model), ("step", step), *(roots or {}).items()])
        known = {**(ranges or {}), **({} if steps is None else {"step": (0, steps - 1)})}
        around = Surroundings(made.inputs, made.steady, known, within or {}, steps, own=own)
        return trace(made, around, world, keep=set(state))


class ProgramStep:
    """The user's step as a function of tensors, and its inputs in order.

    STATE: the user's names, then ``model.*``: buffers, then parameters, which are constants unless the step writes
    them.
    CONSTANT: the user's names. STEP.
    """

    def __init__(
        self,
        step: StepFunction,
        state: Mapping[str, object],
        constants: Mapping[str, object],
        model: nn.Module | None,
        seed: int,
    ) -> None:
        if not state:
            raise CaptureError("there is no state: pass state={name: array, ...}, with what a step changes")
        if not 0 <= seed < SEEDS:
            raise CaptureError(f"the seed must be an integer of at most 64 bits, not negative; it is {seed}")
        require_names(state, constants)
        self.step, self.model, self.seed = step, model, seed
        self.arguments = step_arguments(step, model)
        self.state, self.constants = list(state), list(constants)
        self.buffers = [] if model is None else list(stored_buffers(model))
        self.parameters = [] if model is None else [name for name, _ in model.named_parameters()]
        self.inputs = [data_input(name, Role.STATE, values) for name, values in state.items()]
        if model is not None:
            named = [*stored_buffers(model).items(), *model.named_parameters()]
            self.inputs += [checked_input(f"{MODEL}{name}", Role.STATE, tensor) for name, tensor in named]
        self.inputs += [data_input(name, Role.CONSTANT, values) for name, values in constants.items()]
        self.inputs.append(Input("step", Role.STEP, torch.int64, (1,)))

    @property
    def steady(self) -> frozenset[str]:
        """Names of the inputs that may turn out to be the same in every step."""
        return frozenset(self._own())

    def _own(self) -> list[str]:
        """The slots of the model's tensors."""
        return [f"{MODEL}{name}" for name in (*self.buffers, *self.parameters)]

    def __call__(self, tensors: Sequence[Tensor], watch: Watch) -> list[Tensor]:
        """The new STATE tensors; called under the tracer."""
        at = {made.name: tensor for made, tensor in zip(self.inputs, tensors, strict=True)}
        recorder = SourceRecorder(_Stepped.forward.__code__, ProgramStep.__call__.__code__, watch=watch)
        with recorder, torch.enable_grad(), Sampler(at["step"], self.seed):
            with recorder.section("state"):
                # Copies, so that a step may write into its state, and detached, so that it may ask for gradients.
                state = {name: at[name].detach().clone() for name in self.state}
                constants = {name: at[name].detach() for name in self.constants}
            versions = {name: tensor._version for name, tensor in constants.items()}
            given = {"state": dict(state), "constants": dict(constants), "step": at["step"]}
            given = {name: given[name] for name in self.arguments if name in given}
            result, own = self._run(at, given, watch)
        for name, tensor in constants.items():
            if tensor._version != versions[name]:
                raise CaptureError(f"the step changes the constant {name!r} in place: make it a part of the state")
        after = {name: tensor.detach() for name, tensor in self._checked(result).items()}
        after.update({name: tensor.detach() for name, tensor in own.items()})
        watch.leave(after)
        return [after[made.name] for made in self.inputs if made.role is Role.STATE]

    def _run(self, at: dict[str, Tensor], given: dict[str, Any], watch: Watch) -> tuple[Any, dict[str, Tensor]]:
        """Call the user's step; returns what it returned, and the model's tensors afterwards, by slot."""
        if self.model is None:
            return self.step(**given), {}
        lent = {name: watch.lend(name, at[name].clone()) for name in self._own()}
        before = dict(lent)
        module = _Stepped(self.model, self.step, "model" in self.arguments)
        result = torch.func.functional_call(module, lent, (given,))
        for name, tensor in lent.items():
            if tensor.shape != before[name].shape or tensor.dtype != before[name].dtype:
                raise CaptureError(f"the step changes the shape or dtype of {name}, and a state keeps its type")
        return result, lent

    def _checked(self, result: Any) -> dict[str, Tensor]:
        """The new state by name. Raises: CaptureError unless it fits the old one."""
        if not isinstance(result, Mapping):
            raise CaptureError(f"the step returned {article(result)}; it must return a dict with the new state")
        if unknown := sorted(set(result) - set(self.state), key=str):
            raise CaptureError(f"the step returned {unknown[0]!r}, which is no state: there is {listed(self.state)}")
        if missing := [name for name in self.state if name not in result]:
            raise CaptureError(f"the step did not return {listed(missing)}: return state[name] for what stays as it is")
        types = {made.name: made for made in self.inputs}
        for name, tensor in result.items():
            if not isinstance(tensor, Tensor):
                raise CaptureError(f"the step returned {article(tensor)} for {name!r}; it must be a tensor")
            before = types[name]
            if tuple(tensor.shape) != before.shape:
                raise CaptureError(
                    f"the step changes the shape of {name!r} from {before.shape} to {tuple(tensor.shape)}; shapes are "
                    "fixed: use a tensor that is large enough, and a mask"
                )
            if tensor.dtype != before.dtype:
                raise CaptureError(
                    f"the step changes the dtype of {name!r} from {before.dtype} to {tensor.dtype}; convert the result "
                    f"with .to({before.dtype})"
                )
        return {name: result[name] for name in self.state}


class _Stepped(nn.Module):
    """The user's step as a module around the user's model, so that it can be lent tensors."""

    def __init__(self, model: nn.Module, step: StepFunction, passed: bool) -> None:
        super().__init__()
        self.model = model
        self.step = step
        self.passed = passed

    def forward(self, given: dict[str, Any]) -> Any:
        return self.step(**given, model=self.model) if self.passed else self.step(**given)


def step_arguments(step: StepFunction, model: nn.Module | None) -> list[str]:
    """Which of the arguments a step takes. Raises: CaptureError if it needs others."""
    parameters = inspect.signature(step).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    taken = [p.name for p in parameters if p.name in ARGUMENTS and p.kind not in variable]
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        taken = list(ARGUMENTS)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in variable]
    if unknown := [name for name in needed if name not in ARGUMENTS]:
        raise CaptureError(f"the step has an argument {unknown[0]!r}; it may have {listed(ARGUMENTS)}")
    if "state" not in taken:
        raise CaptureError("the step has no argument 'state', from which it makes the new state")
    if model is None and "model" in needed:
        raise CaptureError("the step has an argument 'model', but no model is given: pass model=...")
    return taken if model is not None else [name for name in taken if name != "model"]


def require_names(state: Iterable[str], constants: Iterable[str]) -> None:
    """Raises: CaptureError for names that are no text, are given twice, or are those of other slots."""
    seen: set[str] = set()
    for name in (*state, *constants):
        if not isinstance(name, str) or not name:
            raise CaptureError(f"{name!r} is no name: state and constants are named by texts")
        if name in seen:
            raise CaptureError(f"{name!r} is both state and a constant")
        if name == "step" or name.startswith((MODEL, "tensor.")):
            raise CaptureError(f"{name!r} is a name that programs use themselves: choose another")
        seen.add(name)


def data_input(name: str, role: Role, values: object) -> Input:
    """The input of an array, a tensor or a number. Raises: CaptureError for anything else."""
    if isinstance(values, Tensor):
        return from_tensor(name, role, values)
    if isinstance(values, np.ndarray | np.generic):
        return from_array(name, role, np.asarray(values))
    raise CaptureError(f"{name!r} is {article(values)}: pass a numpy array or a torch tensor")


def listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def article(value: object) -> str:
    """What a value is, for an error message."""
    name = type(value).__name__
    return f"an {name}" if name[0] in "AEIOaeio" else f"a {name}"
