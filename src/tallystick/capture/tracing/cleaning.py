"""Tidying a functional graph: nothing dead, nothing twice, no operator that only renames a value."""

from __future__ import annotations

import torch
from torch import fx

from tallystick.capture.tracing.provenance import SOURCE
from tallystick.errors import CaptureError

aten = torch.ops.aten

# Without mutation and with every value dense, these are the identity.
_IDENTITY = frozenset(
    {
        aten.alias.default,
        aten.clone.default,
        aten.contiguous.default,
        aten.detach.default,
        aten.detach_.default,  # of torch.tensor inside a decomposition
        aten.lift.default,
        aten.lift_fresh.default,
        aten.lift_fresh_copy.default,
        torch.ops.prims.copy_strided.default,
    }
)
_RESHAPES = frozenset({aten._unsafe_view.default, aten.reshape.default, aten._reshape_alias.default})


def clean(module: fx.GraphModule) -> fx.GraphModule:
    """Tidy the module's graph in place. The order of what remains does not change."""
    graph = module.graph
    for node in graph.find_nodes(op="call_function", target=aten.as_strided.default):
        _require_dense(node)
    for node in list(graph.nodes):
        _simplify(node)
    _share_equal_nodes(graph)
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    graph.lint()
    return module


def _require_dense(node: fx.Node) -> None:
    """Refuse strides over a tensor whose memory is in another order than its elements."""
    operand = node.args[0]
    assert isinstance(operand, fx.Node), "as_strided has a tensor operand"
    if not operand.meta["val"].is_contiguous():
        raise CaptureError(
            f"{node.meta.get(SOURCE)}\n  as_strided of a tensor that is itself strided; call .contiguous() on it first"
        )


def _simplify(node: fx.Node) -> None:
    """Bypass a node that only renames its operand; give reshapes one name and one spelling."""
    if node.op != "call_function":
        return
    if node.target is aten.copy.default:
        node.target, node.args = aten.expand.default, (_cast_to_result(node), list(node.meta["val"].shape))
    if node.target is aten.cat.default:
        _drop_empty_parts(node)
    if node.target in _IDENTITY or _keeps_shape_and_dtype(node):
        operand = node.args[0]
        assert isinstance(operand, fx.Node), "an identity has one tensor operand"
        node.replace_all_uses_with(operand)
        node.graph.erase_node(node)
    elif node.target in _RESHAPES or node.target is aten.view.default:
        node.target = aten.view.default
        node.args = (node.args[0], list(node.meta["val"].shape))


def _drop_empty_parts(cat: fx.Node) -> None:
    """Leave out what adds nothing to a concatenation, such as a cache before its first token."""
    parts, *dim = cat.args
    assert isinstance(parts, (list, tuple)), "a list of tensors is concatenated"
    filled = [part for part in parts if isinstance(part, fx.Node) and part.meta["val"].numel()]
    if not filled or len(filled) == len(parts):
        return
    cat.args = (filled, *dim)
    if len(filled) == 1 and filled[0].meta["val"].dtype == cat.meta["val"].dtype:
        cat.target, cat.args = aten.alias.default, (filled[0],)


def _cast_to_result(copy: fx.Node) -> fx.Node:
    """The source of a copy in the dtype of what it is copied into: booleans drawn for a mask of floats, say."""
    source, dtype = copy.args[1], copy.meta["val"].dtype
    assert isinstance(source, fx.Node), "what is copied is a tensor"
    if source.meta["val"].dtype == dtype:
        return source
    with copy.graph.inserting_before(copy):
        cast = copy.graph.call_function(aten._to_copy.default, (source,), {"dtype": dtype})
    cast.meta = {**copy.meta, "val": source.meta["val"].to(dtype)}
    return cast


def _keeps_shape_and_dtype(node: fx.Node) -> bool:
    """Whether a reshape, broadcast or cast changes nothing."""
    if node.target not in (*_RESHAPES, aten.view.default, aten.expand.default, aten._to_copy.default):
        return False
    operand = node.args[0]
    assert isinstance(operand, fx.Node), "a view has a tensor operand"
    before, after = operand.meta["val"], node.meta["val"]
    return before.shape == after.shape and before.dtype == after.dtype


def _share_equal_nodes(graph: fx.Graph) -> None:
    """Let nodes with the same operator and operands be one; the first one stays, with its source."""
    known: dict[object, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op not in ("call_function", "get_attr"):
            continue
        key = (node.op, node.target, _hashable(node.args), _hashable(node.kwargs))
        if key in known:
            node.replace_all_uses_with(known[key])
            graph.erase_node(node)
        else:
            known[key] = node


def _hashable(argument: object) -> object:
    """A key that two arguments share only if they mean the same: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if isinstance(argument, (list, tuple)):
        return tuple(_hashable(item) for item in argument)
    if isinstance(argument, dict):
        return tuple((key, _hashable(value)) for key, value in sorted(argument.items()))
    if isinstance(argument, fx.Node):
        return argument
    return type(argument).__name__, repr(argument)
