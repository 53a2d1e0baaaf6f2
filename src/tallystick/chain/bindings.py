"""Typed Python for contracts: a class whose methods are declared, with the types a caller sees, and not written.

    class TestToken(Binding):
        @reads("balanceOf")
        def balance_of(self, owner: Address) -> int: ...

        @sends("transfer")
        def transfer(self, to: Address, amount: int, *, sender: Signer) -> Receipt: ...

Structs become the dataclass that the declaration names, numbers the IntEnum, arrays the tuple.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tallystick.chain.contract import Contract

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Binding:
    """A contract on a chain behind declared methods."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    @property
    def address(self) -> str:
        return self.contract.address


def reads(function: str) -> Callable[[F], F]:
    """Declare a method that calls a function without a transaction."""

    def declare(method: F) -> F:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(self: Binding, *given: Any, **named: Any) -> Any:
            bound = signature.bind(self, *given, **named)
            value = self.contract.call(function, *list(bound.arguments.values())[1:])
            return typed(value, get_type_hints(method)["return"])

        return _named(call, function)

    return declare


def sends(function: str) -> Callable[[F], F]:
    """Declare a method that sends a transaction; it has `sender` as a keyword and returns the receipt."""

    def declare(method: F) -> F:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def transact(self: Binding, *given: Any, **named: Any) -> Any:
            bound = signature.bind(self, *given, **named).arguments
            sender = bound.pop("sender")
            return self.contract.transact(function, *list(bound.values())[1:], sender=sender)

        return _named(transact, function)

    return declare


def _named(method: Any, function: str) -> Any:
    method.contract_function = function
    return method


def typed(value: Any, wanted: Any) -> Any:
    """A value from a contract as the type that a declaration names."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(typed(each, arguments[0]) for each in value)
        return tuple(typed(each, argument) for each, argument in zip(value, arguments, strict=True))
    if origin is list:
        return [typed(each, arguments[0]) for each in value]
    if isinstance(wanted, type) and issubclass(wanted, IntEnum):
        return wanted(value)
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return from_fields(wanted, value)
    return value


def from_fields(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from a struct's or an event's values of the same names."""
    hints = get_type_hints(kind)
    fields = [field.name for field in dataclasses.fields(typing.cast(Any, kind))]
    return kind(**{name: typed(values[name], hints[name]) for name in fields})
