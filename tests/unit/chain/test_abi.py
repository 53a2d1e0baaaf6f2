"""Values to call data and back, and bytes that are neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import pytest
from eth_abi.abi import encode

from tallystick.chain.abi import Function, Interface, revert_reason
from tallystick.chain.bindings import from_fields, typed
from tallystick.chain.compiler import compile_contract
from tallystick.errors import ChainError, UsageError

POINT = {
    "type": "tuple",
    "name": "point",
    "components": [{"type": "uint8", "name": "x"}, {"type": "bool", "name": "y"}],
}
ABI: list[dict[str, Any]] = [
    {"type": "function", "name": "none", "inputs": [], "outputs": []},
    {"type": "function", "name": "one", "inputs": [{"type": "uint256", "name": "a"}], "outputs": [POINT]},
    {
        "type": "function",
        "name": "one",
        "inputs": [{"type": "uint256", "name": "a"}, {"type": "bytes4", "name": "b"}],
        "outputs": [{"type": "bool", "name": ""}],
    },
    {
        "type": "function",
        "name": "many",
        "inputs": [{**POINT, "type": "tuple[2][]", "name": "grid"}],
        "outputs": [{**POINT, "type": "tuple[2][]"}, {"type": "address", "name": ""}],
    },
]


@dataclass(frozen=True)
class Point:
    x: int
    y: bool


class Colour(IntEnum):
    RED = 1


@dataclass(frozen=True)
class Picture:
    colour: Colour
    points: tuple[Point, ...]
    pair: tuple[int, Point]
    rows: list[Colour]


@pytest.fixture
def interface() -> Interface:
    return Interface("Sample", ABI)


def test_selectors_are_ethereums() -> None:
    """From the ERC-20 standard, as every wallet knows them."""
    token = Interface("TestToken", compile_contract("TestToken").abi)
    assert token.function("transfer").selector.hex() == "a9059cbb"
    assert token.function("transferFrom").selector.hex() == "23b872dd"
    assert token.event("Transfer").topic.hex() == "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def test_structs_are_spelled_out_in_signatures(interface: Interface) -> None:
    assert [each.type for each in interface.function("many").inputs] == ["(uint8,bool)[2][]"]


@pytest.mark.parametrize("form", [(7, True), [7, True], {"y": True, "x": 7}, Point(7, True)])
def test_structs_go_in_in_any_form_and_come_out_as_dicts(interface: Interface, form: Any) -> None:
    function = interface.function("many")
    data = function.encode([[[form, form]]])
    assert data == function.selector + encode(["(uint8,bool)[2][]"], [[[(7, True), (7, True)]]])
    assert function.decode_arguments(data) == {"grid": [[{"x": 7, "y": True}] * 2]}


def test_functions_of_one_name_are_told_apart(interface: Interface) -> None:
    short, long = interface.function("one", 1), interface.function("one", 2)
    assert (len(short.inputs), len(long.inputs)) == (1, 2)
    assert interface.called("one", long.encode([1, b"abcd"])) is long
    assert interface.called("one", short.encode([1])) is short


def test_results_are_nothing_a_value_or_several(interface: Interface) -> None:
    assert interface.function("none").decode(b"") is None
    assert interface.function("one", 1).decode(encode(["uint8", "bool"], [3, False])) == {"x": 3, "y": False}
    address = "0x" + "ab" * 20
    several = interface.function("many").decode(encode(["(uint8,bool)[2][]", "address"], [[], address]))
    assert several == ([], "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB")


@pytest.mark.parametrize("arguments", [[], [1, 2], [-1], [2**256], ["1"], [b"1"], [1, b"abc"], [1, b"abcde"], [None]])
def test_arguments_that_do_not_fit_are_refused(interface: Interface, arguments: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"Sample\.one"):
        interface.function("one", len(arguments)).encode(arguments)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 31,
        b"\0" * 32 + b"\xff" * 32,  # a bool of all ones
        b"\xff" * 64,
    ],
)
def test_results_that_are_none_are_reported(interface: Interface, data: bytes) -> None:
    with pytest.raises(ChainError, match=r"not what Sample\.one gives"):
        interface.function("one", 1).decode(data)


def test_an_array_longer_than_its_bytes_is_reported(interface: Interface) -> None:
    lies = (64).to_bytes(32, "big") + b"\0" * 32 + (2**64).to_bytes(32, "big")
    with pytest.raises(ChainError):
        interface.function("many").decode(lies)


def test_calls_of_something_else_are_reported(interface: Interface) -> None:
    with pytest.raises(ChainError, match="does not call"):
        interface.function("none").decode_arguments(b"\1\2\3\4")
    with pytest.raises(ChainError, match="not what"):
        interface.function("one", 1).decode_arguments(interface.function("one", 1).selector + b"\1")


def test_names_that_do_not_exist_are_refused_with_those_that_do(interface: Interface) -> None:
    with pytest.raises(UsageError, match="it has many, none, one"):
        interface.function("two")
    with pytest.raises(UsageError, match="no event 'two'"):
        interface.event("two")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (bytes.fromhex("08c379a0") + encode(["string"], ["too late"]), "too late"),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [17]), "panic 0x11"),
        (bytes.fromhex("08c379a0") + b"\xff" * 64, "08c379a0" + "ff" * 64),
        (bytes.fromhex("08c379a0") + encode(["bytes"], [b"\xff\xfe"]), None),
        (b"\1\2\3\4", "01020304"),
        (b"\1", "01"),
        (b"", ""),
    ],
)
def test_reasons_of_reverts(output: bytes, reason: str | None) -> None:
    assert revert_reason(output) == (output.hex() if reason is None else reason)


def test_declared_types_are_made_of_plain_values() -> None:
    points = [{"x": 1, "y": True}, {"x": 2, "y": False}]
    values = {"colour": 1, "points": points, "pair": (5, points[0]), "rows": [1, 1]}
    picture = Picture(Colour.RED, (Point(1, True), Point(2, False)), (5, Point(1, True)), [Colour.RED] * 2)
    assert from_fields(Picture, values) == picture
    assert type(from_fields(Picture, values).colour) is Colour
    assert typed((1, 2), tuple[Colour, int] | None) == (1, 2)
    with pytest.raises(ValueError, match="2 is not a valid Colour"):
        typed(2, Colour)


def test_a_function_says_what_it_takes() -> None:
    with pytest.raises(UsageError, match=r"f takes \(\), not 1 arguments"):
        Function("f", b"", (), ()).encode([1])
