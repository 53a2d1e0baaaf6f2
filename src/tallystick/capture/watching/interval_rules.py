"""What operators make of intervals: of sums, choices, comparisons, places, and of elements that are only moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from tallystick.capture.watching.ledger import Items, Made, Ref

Number = int | float
EXACT = 1 << 24  # integers up to which a float32 holds each


class Interval(NamedTuple):
    """From ``low`` to ``high``, both among them. ``inputs`` has a bit for every input whose values were looked at."""

    low: Number
    high: Number
    inputs: int = 0


class Asker(Protocol):
    """Finds the interval of an encoded argument; None where nothing is known."""

    def below(self, item: Any) -> Interval | None: ...


Rule = Callable[[Asker, Made], Interval | None]
RULES: dict[str, Rule] = {}


def joined(parts: Sequence[Interval | None]) -> Interval | None:
    """The smallest interval around all parts."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return Interval(min(part.low for part in known), max(part.high for part in known), inputs_of(known))


def inputs_of(parts: Sequence[Interval]) -> int:
    bits = 0
    for part in parts:
        bits |= part.inputs
    return bits


def name_of(made: Made) -> str:
    """The name of the operator, without namespace and overload."""
    return made.func._schema.name.partition("::")[2]


def rule(*names: str) -> Callable[[Rule], Rule]:
    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def first(of: Asker, made: Made) -> Interval | None:
    return of.below(made.args[0]) if made.args else None


def pair_of(of: Asker, made: Made) -> tuple[Interval, Interval] | None:
    if len(made.args) < 2:
        return None
    a, b = of.below(made.args[0]), of.below(made.args[1])
    return None if a is None or b is None else (a, b)


# ARITHMETIC
def _of_corners(function: Callable[[Number, Number], Number]) -> Rule:
    """A rule for an operator of two arguments that takes its extremes where they have theirs."""

    def found(of: Asker, made: Made) -> Interval | None:
        pair = pair_of(of, made)
        if pair is None or dict(made.kwargs).get("alpha", 1) != 1:
            return None
        a, b = pair
        corners = [function(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return None if any(math.isnan(c) for c in corners) else Interval(min(corners), max(corners), inputs_of(pair))

    return found


RULES["add"] = _of_corners(lambda x, y: x + y)
RULES["sub"] = _of_corners(lambda x, y: x - y)
RULES["mul"] = _of_corners(lambda x, y: x * y)
RULES["minimum"] = _of_corners(min)
RULES["maximum"] = _of_corners(max)


@rule("rsub")
def _rsub(of: Asker, made: Made) -> Interval | None:
    pair = pair_of(of, made)
    if pair is None or len(made.args) > 2:
        return None
    return Interval(pair[1].low - pair[0].high, pair[1].high - pair[0].low, inputs_of(pair))


@rule("neg")
def _neg(of: Asker, made: Made) -> Interval | None:
    found = first(of, made)
    return found and Interval(-found.high, -found.low, found.inputs)


@rule("remainder")
def _remainder(of: Asker, made: Made) -> Interval | None:
    divisor = of.below(made.args[1])
    if divisor is None or divisor.low <= 0 or made.dtype.is_floating_point:
        return None
    return Interval(0, divisor.high - 1, divisor.inputs)


@rule("floor_divide", "div")
def _divided(of: Asker, made: Made) -> Interval | None:
    pair = pair_of(of, made)
    rounding = "floor" if name_of(made) == "floor_divide" else dict(made.kwargs).get("rounding_mode")
    if pair is None or pair[1].low <= 0 or made.dtype.is_floating_point or rounding is None:
        return None
    a, b = pair
    quotients = [x / y if rounding == "trunc" else x // y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Interval(math.trunc(min(quotients)), math.trunc(max(quotients)), inputs_of(pair))


@rule("cumsum", "sum")
def _summed(of: Asker, made: Made) -> Interval | None:
    """At most as many elements as there are along the axes."""
    found, source = first(of, made), made.args[0]
    if found is None or made.dtype.is_floating_point or not isinstance(source, Ref):
        return None
    axes = made.args[1] if len(made.args) > 1 else None
    dims = axes.items if isinstance(axes, Items) else [axes] if type(axes) is int else range(len(source.size))
    count = math.prod(source.size[d] for d in dims) if source.size else 1
    return Interval(min(found.low, found.low * count), max(found.high, found.high * count), found.inputs)


@rule("floor", "ceil", "round", "trunc")
def _rounded(of: Asker, made: Made) -> Interval | None:
    found = first(of, made)
    return found and Interval(math.floor(found.low), math.ceil(found.high), found.inputs)


@rule("abs", "relu")
def _not_negative(of: Asker, made: Made) -> Interval | None:
    found = first(of, made)
    if found is None:
        return None
    if name_of(made) == "relu":
        return Interval(max(0, found.low), max(0, found.high), found.inputs)
    return Interval(max(0, found.low, -found.high), max(abs(found.low), abs(found.high)), found.inputs)


@rule("philox")
def _uniform(of: Asker, made: Made) -> Interval | None:
    """Multiples of 2^-24 from 0 on, below 1."""
    return Interval(0.0, 1.0 - 2.0**-24)


# ELEMENTS THAT ARE MOVED, CONVERTED, CHOSEN
@rule(
    *("clone", "index_select", "gather", "embedding", "repeat", "contiguous", "index", "flip", "roll", "take"),
    *("_unsafe_view", "reshape", "_reshape_alias", "alias", "lift_fresh", "lift_fresh_copy", "amax", "amin"),
    *("repeat_interleave", "diagonal_copy", "expand_copy", "view_copy"),
)
def _elements(of: Asker, made: Made) -> Interval | None:
    """Elements of the first argument."""
    return first(of, made)


@rule("tril", "triu")
def _zeros_among(of: Asker, made: Made) -> Interval | None:
    return joined([first(of, made), Interval(0, 0)])


@rule("constant_pad_nd")
def _padded(of: Asker, made: Made) -> Interval | None:
    return joined([first(of, made), of.below(made.args[2]) if len(made.args) > 2 else Interval(0, 0)])


@rule("_to_copy")
def _converted(of: Asker, made: Made) -> Interval | None:
    found = first(of, made)
    if found is None:
        return None
    if made.dtype is torch.bool:
        return Interval(0, 1, found.inputs)
    if made.dtype.is_floating_point:
        return found if max(abs(found.low), abs(found.high)) <= EXACT and made.dtype is torch.float32 else None
    if math.isinf(found.low) or math.isinf(found.high):
        return None
    low, high, limits = math.trunc(found.low), math.trunc(found.high), torch.iinfo(made.dtype)
    return Interval(low, high, found.inputs) if limits.min <= low and high <= limits.max else None


@rule("copy")
def _copied(of: Asker, made: Made) -> Interval | None:
    return of.below(made.args[1])


@rule("fill")
def _filled(of: Asker, made: Made) -> Interval | None:
    return of.below(made.args[-1])


@rule("masked_fill")
def _filled_in_part(of: Asker, made: Made) -> Interval | None:
    return joined([first(of, made), of.below(made.args[-1])])


@rule("zero")
def _zero(of: Asker, made: Made) -> Interval | None:
    return Interval(0, 0)


@rule("where")
def _where(of: Asker, made: Made) -> Interval | None:
    if len(made.args) < 3:
        return None
    condition = of.below(made.args[0])
    if condition is not None and condition.low == condition.high:
        chosen = of.below(made.args[1 if condition.low else 2])
        return chosen and chosen._replace(inputs=chosen.inputs | condition.inputs)
    return joined([of.below(made.args[1]), of.below(made.args[2])])


@rule("scatter")
def _scattered(of: Asker, made: Made) -> Interval | None:
    return joined([first(of, made), of.below(made.args[3])]) if len(made.args) > 3 else None


@rule("cat", "stack")
def _joined(of: Asker, made: Made) -> Interval | None:
    parts = made.args[0]
    return joined([of.below(part) for part in parts.items]) if isinstance(parts, Items) else None


@rule("clamp", "clamp_min", "clamp_max")
def _clamped(of: Asker, made: Made) -> Interval | None:
    x, name, options = first(of, made), name_of(made), dict(made.kwargs)
    if x is None and made.dtype.is_floating_point:  # NaN stays NaN
        return None
    places = {"clamp": (1, 2), "clamp_min": (1, 9), "clamp_max": (9, 1)}[name]
    low, high = (made.args[place] if len(made.args) > place else None for place in places)
    low, high = options.get("min", low), options.get("max", high)
    bounds = [None if bound is None else of.below(bound) for bound in (low, high)]
    if any(bound is not None and known is None for bound, known in zip((low, high), bounds, strict=True)):
        return None
    found = x or Interval(-math.inf, math.inf)
    if bounds[0] is not None:
        found = Interval(max(found.low, bounds[0].low), max(found.high, bounds[0].high), inputs_of([found, bounds[0]]))
    if bounds[1] is not None:
        found = Interval(min(found.low, bounds[1].low), min(found.high, bounds[1].high), inputs_of([found, bounds[1]]))
    return None if math.isinf(found.low) or math.isinf(found.high) else found


# PLACES
@rule("argmax", "argmin", "topk", "argsort", "sort", "max", "min")
def _place(of: Asker, made: Made) -> Interval | None:
    """A place along an axis; of the operators with two results, the second. The first has elements."""
    name, source = name_of(made), made.args[0]
    if not isinstance(source, Ref):
        return None
    if made.result == 0 and name in ("topk", "max", "min", "sort"):
        return first(of, made) if name in ("topk", "sort") or len(made.args) < 2 or type(made.args[1]) is int else None
    dims = [arg for arg in made.args[2 if name == "topk" else 1 :] if type(arg) is int]
    dim = dict(made.kwargs).get("dim", dims[0] if dims else -1 if name in ("topk", "sort", "argsort") else None)
    if dim is None:
        return Interval(0, max(0, math.prod(source.size) - 1))
    return Interval(0, source.size[dim] - 1 if source.size else 0)


# TRUTH
def _compared(certain: Callable[[Interval, Interval], bool | None]) -> Rule:
    def found(of: Asker, made: Made) -> Interval | None:
        pair = pair_of(of, made)
        answer = None if pair is None else certain(*pair)
        return Interval(0, 1) if answer is None or pair is None else Interval(answer, answer, inputs_of(pair))

    return found


RULES["lt"] = _compared(lambda a, b: True if a.high < b.low else False if a.low >= b.high else None)
RULES["le"] = _compared(lambda a, b: True if a.high <= b.low else False if a.low > b.high else None)
RULES["gt"] = _compared(lambda a, b: True if a.low > b.high else False if a.high <= b.low else None)
RULES["ge"] = _compared(lambda a, b: True if a.low >= b.high else False if a.high < b.low else None)
RULES["eq"] = _compared(lambda a, b: False if a.high < b.low or b.high < a.low else None)
RULES["ne"] = _compared(lambda a, b: True if a.high < b.low or b.high < a.low else None)


@rule("logical_not", "bitwise_not")
def _not(of: Asker, made: Made) -> Interval | None:
    if made.dtype is not torch.bool:
        return None
    found = first(of, made)
    if found is None or found.low != found.high:
        return Interval(0, 1)
    return Interval(1 - int(found.low), 1 - int(found.low), found.inputs)


@rule("any", "all", "_is_all_true", "_is_any_true")
def _all(of: Asker, made: Made) -> Interval | None:
    """As the elements are, where they are all the same. Numbers other than 0 are true."""
    found = first(of, made)
    source = made.args[0]
    if found is None or not isinstance(source, Ref) or not math.prod(source.size):
        return Interval(0, 1)
    if found.low == found.high or found.low > 0 or found.high < 0:
        return Interval(int(found.low != 0), int(found.low != 0), found.inputs)
    return Interval(0, 1)


@rule("logical_and", "logical_or", "bitwise_and", "bitwise_or")
def _both(of: Asker, made: Made) -> Interval | None:
    if made.dtype is not torch.bool:
        return None
    deciding = 0 if name_of(made).endswith("and") else 1
    parts = [of.below(arg) for arg in made.args[:2]]
    known = [part for part in parts if part is not None and part.low == part.high]
    sure = [part for part in known if bool(part.low) == bool(deciding)]
    if sure:
        return Interval(deciding, deciding, sure[0].inputs)
    return Interval(1 - deciding, 1 - deciding, inputs_of(known)) if len(known) == len(parts) else Interval(0, 1)
