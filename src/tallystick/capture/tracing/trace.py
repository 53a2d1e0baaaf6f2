"""From a training step in PyTorch to one pure graph: the interface between tracing and lowering.

``trace`` runs a step function once on fake tensors (shapes and dtypes, no data) and returns a ``Trace``, described
here; ``training.trace_training`` makes the step function of a training job and traces it.

- ``graph``: a ``torch.fx.Graph`` in execution order with only ``placeholder``, ``call_function`` and ``output`` nodes.
  It is pure: no operator mutates, no two nodes compute the same thing, every node is needed, and the order is the
  same in every run of the same code.
- ``inputs``: one ``Input`` per placeholder, in the same order: every STATE slot, then every CONSTANT (parameters that
  are frozen, buffers that never change, data, tables, tensors the model closes over), then one STEP. Their ``array``
  is stored as the slot; int64 in PyTorch is int32 there (checked), and every int64 in the graph means the IR's i32.
  The STEP placeholder is an int64 tensor of shape (1,) that holds the step number (``Op.STEP``); it has no slot.
- the ``output`` node's first argument is a list with one node per STATE input, in order: its value after the step.
  A slot the step leaves alone has its own placeholder there.
- ``node.meta["val"]``: a fake tensor (shape, dtype), or a tuple of them for operators with several results, which are
  picked by ``operator.getitem``. Strides in it mean nothing: every value is dense and row-major.
- ``node.meta["source"]``: the user's line, such as ``digits.py:31 forward: x = self.conv1(x)``.

Operators (overload names left out where every overload counts); ``decompositions`` writes out all others it knows:

    views         view expand permute unsqueeze squeeze.dims select.int slice.Tensor cat constant_pad_nd flip unfold
                  as_strided diagonal  (never: reshape t transpose split stack alias detach clone _unsafe_view)
    sources       full full_like scalar_tensor arange.start_step  (never: ones zeros empty)
    pointwise     add sub mul div (div.Tensor_mode) neg abs reciprocal sqrt rsqrt exp exp2 expm1 log log2 log10 log1p
                  sin cos tan tanh sinh cosh asin acos atan atan2 erf sigmoid pow relu floor ceil round trunc sign
                  fmod remainder maximum minimum clamp where comparisons logical_* bitwise_* isnan isinf _to_copy
    reductions    sum prod amax amin max.dim min.dim argmax argmin any all cumsum cumprod
    contractions  mm bmm addmm convolution convolution_backward
    pools         max_pool2d_with_indices(_backward) avg_pool2d(_backward)
    indices       embedding embedding_dense_backward index_select index.Tensor index_put gather scatter scatter_add
                  scatter_reduce index_add
    random        tallystick.philox (see ``random.py``)

Scalars in arguments are Python numbers (never symbolic). Missing from this list means a ``CaptureError`` of lowering.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from tallystick.capture.collector import collector_paused
from tallystick.capture.decompositions.tables import CORE, UNDER_AUTOGRAD
from tallystick.capture.inputs import Input, Role, from_tensor
from tallystick.capture.reach.world import World
from tallystick.capture.stages import begin
from tallystick.capture.tracing.checkpoints import checkpoints_without_reentry
from tallystick.capture.tracing.cleaning import clean
from tallystick.capture.tracing.conversions import empty_conversions_left_out
from tallystick.capture.tracing.functions import FunctionWriter
from tallystick.capture.tracing.interception import Interceptor
from tallystick.capture.tracing.library import library_for_tracing
from tallystick.capture.tracing.noting import check_input, check_names, noted
from tallystick.capture.tracing.pairs import has_complex_numbers, input_of_pairs, without_complex_numbers
from tallystick.capture.tracing.provenance import SOURCE
from tallystick.capture.tracing.repetition import require_equal, require_no_counters, require_no_draws
from tallystick.capture.tracing.rerun import Rerun
from tallystick.capture.watching.ledger import Ref, on_values
from tallystick.capture.watching.settling import settle
from tallystick.capture.watching.surroundings import Surroundings
from tallystick.capture.watching.watch import Watch, taken_before
from tallystick.errors import CaptureError


@dataclass(frozen=True)
class Trace:
    """A traced step; see the top of this file."""

    graph: fx.Graph
    inputs: list[Input]


WORD = 1 << 31
HELD = ("model.", "loss.")  # names of what modules hold begin with these
StepFunction = Callable[[Sequence[torch.Tensor], Watch], list[torch.Tensor]]
Rest = Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor]], list[torch.Tensor]]


def trace(
    step: StepFunction,
    around: Surroundings,
    world: World,
    keep: Collection[str] = (),
    rest: Rest | None = None,
) -> Trace:
    """Trace a step function that takes one tensor per input and returns one per STATE input.

    ``around`` says what the inputs are. ``world`` is what the step reaches beside them: it is as before afterwards.
    ``keep`` are names of STATE inputs that stay state even if the step leaves them alone.
    ``rest``, if given, makes those results: of the inputs, and of what ``step`` then returns instead. It needs neither
    autograd nor in-place operators, and says itself where its operators come from.

    The first pass records what autograd and in-place operators do, in order, with the user's lines; then the step runs
    once more, to see that it does the same again. The second pass runs the record again through functionalisation and
    the decompositions; a node made there inherits the line of the node it came from. The rest of the step is run in the
    second pass alone, and so is what becomes of the checks.
    """
    watch = Watch(replace(around, written_out=UNDER_AUTOGRAD, naming=around.naming or world.name_of))
    with (
        collector_paused(),
        FakeTensorMode(allow_non_fake_inputs=True),
        sdpa_kernel(SDPBackend.MATH),
        without_onednn(),
        quiet(),
        empty_conversions_left_out(),
        library_for_tracing(),
        checkpoints_without_reentry(),
    ):
        begin("trace")
        recorded = _record(step, watch, world)
        with on_values():
            checks = settle(watch)
        inputs = [*around.inputs[:-1], *(check_input(name) for name in check_names(checks)), around.inputs[-1]]

        def again(*tensors: torch.Tensor) -> list[torch.Tensor]:
            given = [*tensors[: len(around.inputs) - 1], tensors[-1]]
            results = Rerun(recorded).run(*given)
            made, bad = results[: len(results) - len(watch.checks)], results[len(results) - len(watch.checks) :]
            after = made if rest is None else rest(given, made)
            kept = [truth for check, truth in zip(watch.checks, bad, strict=True) if check in checks]
            return [*after, *noted(kept, tensors[len(around.inputs) - 1 : -1], tensors[-1])]

        begin("write out")
        functional = torch.func.functionalize(again, remove="mutations")
        examples = _examples(inputs)
        traced = clean(make_fx(functional, CORE)(*examples))
        if has_complex_numbers(traced.graph):
            traced, inputs = without_complex_numbers(traced, examples), [input_of_pairs(i) for i in inputs]
    require_words(traced.graph)
    graph, inputs = _lift_constants(traced, inputs, around.own)
    settled = _settle(graph, inputs, keep)
    _require_steady(settled, watch)
    return Trace(graph, settled)


def _examples(inputs: Sequence[Input]) -> list[torch.Tensor]:
    return [torch.empty(made.shape, dtype=made.dtype, device="cpu") for made in inputs]


def _record(step: StepFunction, watch: Watch, world: World) -> fx.GraphModule:
    """Run the step once, recorded, and once more, compared; the world is as before afterwards."""
    numbers: list[Ref] = []

    def watched(*tensors: torch.Tensor) -> list[torch.Tensor]:
        with Interceptor(watch), FunctionWriter():
            watch.begin(tensors)
            results = step(tensors, watch)
        if watch.error is not None:  # the user's code has caught it
            raise watch.error
        numbers[:] = watch.numbers(results)
        return [*results, *(check.bad for check in watch.checks)]

    before = world.generators()
    try:
        recorded = make_fx(watched, UNDER_AUTOGRAD)(*_examples(watch.around.inputs))
        _require_repeatable(watched, numbers, watch, world, before)
    finally:
        world.restore()
    return recorded


def _require_repeatable(
    watched: Callable[..., Any], numbers: list[Ref], watch: Watch, world: World, before: Mapping[str, Any]
) -> None:
    """Run the step a second time, as training would, with other numbers from every generator outside of the program."""
    first, changes = world.generators(), world.changes()
    between = World(world.roots) if changes else world
    world.disturb()
    expected = list(numbers)
    watch.repeat()
    try:
        watched(*_examples(watch.around.inputs))
    except CaptureError as error:
        raise CaptureError(f"the step runs once, but not a second time after that:\n  {error}") from error
    second, again = world.generators(), between.changes()
    require_no_draws(before, first, second, world)
    require_no_counters(again)
    require_equal(expected, numbers, watch, changes)


def _require_steady(inputs: Sequence[Input], watch: Watch) -> None:
    """Raises: CaptureError if Python was told the value of something that the step changes after all."""
    state = {made.name for made in inputs if made.role is Role.STATE}
    for name, line in watch.asked.items():
        if name in state:
            raise CaptureError(
                f"{line}\n  asks for the value of {name}, which the step changes: Python would choose anew in every "
                "step, and a program cannot. Choose with torch.where, or bring it into its final state before the "
                "job"
            )


@contextmanager
def without_onednn() -> Iterator[None]:
    """Whole recurrent layers as one operator exist only for oneDNN; without it they are written out."""
    # Not ``torch.backends.mkldnn.flags``: that also sets a precision, which warns on most machines.
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


@contextmanager
def quiet() -> Iterator[None]:
    """PyTorch logs a traceback when an operator refuses its inputs; the user gets an error with a line instead."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def require_words(graph: fx.Graph) -> None:
    """Refuse numbers that the 32-bit words of a program cannot hold: float64, complex, integers beyond 32 bits."""
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        values = node.meta["val"] if isinstance(node.meta["val"], (tuple, list)) else [node.meta["val"]]
        dtypes = {value.dtype for value in values if isinstance(value, torch.Tensor)}
        for dtype in dtypes & {torch.float64, torch.complex64, torch.complex128}:
            raise CaptureError(f"{node.meta[SOURCE]}\n  makes a tensor of {dtype}; use float32")
        operands = [a.meta["val"] for a in node.args if isinstance(a, fx.Node)]
        compares = dtypes == {torch.bool} and not any(_is_float(operand) for operand in operands)
        if (torch.int64 in dtypes or compares) and node.target is not torch.ops.aten.slice.Tensor:
            large = [a for a in (*node.args, *node.kwargs.values()) if isinstance(a, int) and not -WORD <= a < WORD]
            if large:
                raise CaptureError(f"{node.meta[SOURCE]}\n  has the number {large[0]}; integers have 32 bits")


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def _lift_constants(
    module: fx.GraphModule, inputs: list[Input], own: Mapping[str, torch.Tensor]
) -> tuple[fx.Graph, list[Input]]:
    """Make placeholders of the tensors that the traced code closed over, before the STEP placeholder."""
    graph = module.graph
    placeholders = graph.find_nodes(op="placeholder")
    lifted: list[Input] = []
    made: dict[str, fx.Node] = {}
    for node in graph.find_nodes(op="get_attr"):
        if node.target not in made:
            tensor = getattr(module, node.target)
            for name, mine in own.items():
                if tensor.numel() and tensor.data_ptr() == mine.data_ptr():
                    line = next(iter(node.users)).meta.get(SOURCE)
                    raise CaptureError(f"{line}\n  {taken_before(name)}")
            if not tensor.numel():
                line = next(iter(node.users)).meta.get(SOURCE)
                raise CaptureError(
                    f"{line}\n  computes with a tensor without elements, such as what a mask selects that is false "
                    "everywhere: no program holds one. Leave the line out where there is nothing to compute"
                )
            lifted.append(from_tensor(f"tensor.{len(lifted)}", Role.CONSTANT, tensor))
            with graph.inserting_before(placeholders[-1]):
                made[node.target] = graph.placeholder(f"tensor_{len(lifted) - 1}")
            made[node.target].meta = dict(node.meta)
        node.replace_all_uses_with(made[node.target])
        graph.erase_node(node)
    graph.lint()
    return graph, [*inputs[:-1], *lifted, inputs[-1]]


def _settle(graph: fx.Graph, inputs: list[Input], keep: Collection[str]) -> list[Input]:
    """Make constants of slots the step leaves alone, unless kept, and drop what nobody reads and no model holds."""
    placeholders = graph.find_nodes(op="placeholder")
    output = graph.output_node()
    results = output.args[0]
    assert isinstance(results, (list, tuple)), "a step returns a list"
    after = iter(results)
    settled: list[tuple[Input, fx.Node]] = []
    kept: list[fx.Node] = []
    for made, node in zip(inputs, placeholders, strict=True):
        result = next(after) if made.role is Role.STATE else None
        if result is not None and (result is not node or made.name in keep):
            assert isinstance(result, fx.Node), "a step returns tensors"
            kept.append(result)
        elif made.role is Role.STATE:
            made = replace(made, role=Role.CONSTANT)
        settled.append((made, node))
    output.args = (kept,)
    for made, node in settled:
        if not node.users and not made.name.startswith(HELD) and made.role is Role.CONSTANT:
            graph.erase_node(node)
    settled = [(made, node) for made, node in settled if not node._erased]
    # State slots first, then constants, then the step, each in their order.
    roles = list(Role)
    settled.sort(key=lambda pair: roles.index(pair[0].role))
    body = next(node for node in graph.nodes if node.op != "placeholder")
    for _, node in settled:
        body.prepend(node)
    graph.lint()
    return [made for made, _ in settled]
