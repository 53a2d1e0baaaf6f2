"""A contract's interface: Python values to call data and back.

uint*, int*   int                 bytes*    bytes, of exactly that length where the type has one
bool          bool                string    str
address       str, '0x' and 40 hex digits; with checksum when it comes from a contract
T[], T[n]     list                struct    any of tuple, mapping or dataclass goes in; dict comes out
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.chain.extra import ChainExtra
from tallystick.errors import ChainError, UsageError

with ChainExtra():
    from eth_abi.abi import decode as decode_abi
    from eth_abi.abi import encode as encode_abi
    from eth_abi.exceptions import DecodingError, EncodingError
    from eth_utils.address import to_checksum_address
    from eth_utils.crypto import keccak

Address = str
"""'0x' and 40 hex digits, with checksum (EIP-55) when this package made it."""

_ERROR = keccak(text="Error(string)")[:4]
_PANIC = keccak(text="Panic(uint256)")[:4]
_ARRAY = re.compile(r"^(.*)\[(\d*)\]$")
_FIXED_BYTES = re.compile(r"^bytes(\d+)$")


@dataclass(frozen=True)
class Parameter:
    """One input or output; `components` are the fields of a struct, or of the structs in an array."""

    name: str
    type: str
    components: tuple[Parameter, ...] = ()
    indexed: bool = False

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Parameter:
        """From the compiler's description; a struct's type is spelled out as the tuple it is."""
        components = tuple(cls.parse(each) for each in entry.get("components", ()))
        kind = entry["type"]
        if components:
            kind = f"({','.join(each.type for each in components)})" + kind.removeprefix("tuple")
        return cls(entry.get("name", ""), kind, components, entry.get("indexed", False))

    def element(self) -> Parameter | None:
        """For an array, one of its elements."""
        array = _ARRAY.match(self.type)
        return dataclasses.replace(self, type=array[1]) if array else None


@dataclass(frozen=True)
class Function:
    """A function that can be called from outside, or the constructor (whose selector is empty)."""

    name: str
    selector: bytes
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Call data.

        Raises: UsageError if the arguments are not what the function takes.
        """
        if len(arguments) != len(self.inputs):
            names = ", ".join(f"{each.type} {each.name}".strip() for each in self.inputs)
            raise UsageError(f"{self.name} takes ({names}), not {len(arguments)} arguments")
        try:
            values = [to_abi(value, each, self.name) for value, each in zip(arguments, self.inputs, strict=True)]
            return self.selector + encode_abi([each.type for each in self.inputs], values)
        except EncodingError as error:
            raise UsageError(f"{self.name} cannot be called so: {error}") from error

    def decode(self, output: bytes) -> Any:
        """What the function returned: None, a value, or a tuple of several.

        Raises: ChainError if these bytes are no such thing.
        """
        values = decode(self.outputs, output, self.name)
        return values[0] if len(values) == 1 else tuple(values) or None

    def decode_arguments(self, call_data: bytes) -> dict[str, Any]:
        """The arguments that somebody called this function with, by name.

        Raises: ChainError if it is not a call of this function.
        """
        if call_data[:4] != self.selector:
            raise ChainError(f"Call data that begins with {call_data[:4].hex()!r} does not call {self.name}")
        return dict(
            zip((each.name for each in self.inputs), decode(self.inputs, call_data[4:], self.name), strict=True)
        )


@dataclass(frozen=True)
class EventType:
    """An event a contract can log."""

    name: str
    topic: bytes
    inputs: tuple[Parameter, ...]

    def decode(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """The values of a logged event by name. Of an indexed value of no fixed size there is only its hash.

        Raises: ChainError if it is not such an event.
        """
        inside = [each for each in self.inputs if not each.indexed]
        values = dict(zip((each.name for each in inside), decode(inside, data, self.name), strict=True))
        indexed = [each for each in self.inputs if each.indexed]
        if len(indexed) != len(topics) - 1:
            raise ChainError(f"An event {self.name} with {len(topics) - 1} indexed values, not {len(indexed)}")
        for each, topic in zip(indexed, topics[1:], strict=True):
            hashed = each.type in ("bytes", "string") or each.components or each.element() is not None
            values[each.name] = topic if hashed else decode([each], topic, self.name)[0]
        return {each.name: values[each.name] for each in self.inputs}


class Interface:
    """All functions and events of a contract."""

    def __init__(self, name: str, abi: Sequence[Mapping[str, Any]]) -> None:
        self.name = name
        self.constructor = Function(name, b"", (), ())
        self.functions: dict[str, list[Function]] = {}
        self.events: dict[str, EventType] = {}
        self._event_of_topic: dict[bytes, EventType] = {}
        for entry in abi:
            self._add(entry)

    def _add(self, entry: Mapping[str, Any]) -> None:
        kind = entry.get("type", "function")
        inputs = tuple(Parameter.parse(each) for each in entry.get("inputs", ()))
        if kind == "constructor":
            self.constructor = Function(self.name, b"", inputs, ())
        if kind not in ("function", "event"):
            return
        name = entry["name"]
        digest = keccak(text=f"{name}({','.join(each.type for each in inputs)})")
        if kind == "function":
            outputs = tuple(Parameter.parse(each) for each in entry["outputs"])
            function = Function(f"{self.name}.{name}", digest[:4], inputs, outputs)
            self.functions.setdefault(name, []).append(function)
        else:
            event = EventType(name, digest, inputs)
            self.events[name] = self._event_of_topic[digest] = event

    def function(self, name: str, arguments: int | None = None) -> Function:
        """A function by name, and by how many arguments it gets where several have the name.

        Raises: UsageError if there is none.
        """
        found = self.functions.get(name, [])
        if not found:
            raise UsageError(f"{self.name} has no function {name!r}; it has {', '.join(sorted(self.functions))}")
        return next((each for each in found if len(each.inputs) == arguments), found[0])

    def called(self, name: str, call_data: bytes) -> Function:
        """Of the functions of this name the one that was called; one of them if none was.

        Raises: UsageError if there is none.
        """
        first = self.function(name)
        return next((each for each in self.functions[name] if each.selector == call_data[:4]), first)

    def event(self, name: str) -> EventType:
        """An event by name.

        Raises: UsageError if there is none.
        """
        if name not in self.events:
            raise UsageError(f"{self.name} has no event {name!r}; it has {', '.join(sorted(self.events))}")
        return self.events[name]

    def event_of(self, topics: Sequence[bytes]) -> EventType | None:
        """Which event was logged, or None for one of another contract."""
        return self._event_of_topic.get(topics[0]) if topics else None


def decode(parameters: Sequence[Parameter], data: bytes, what: str) -> list[Any]:
    """Values from their encoding.

    Raises: ChainError if it is not one.
    """
    try:
        values = decode_abi([each.type for each in parameters], data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise ChainError(
            f"{len(data)} bytes that are not what {what} gives ({error}); is it this contract at that address?"
        ) from error
    return [from_abi(value, each) for value, each in zip(values, parameters, strict=True)]


def to_abi(value: Any, parameter: Parameter, what: str) -> Any:
    """A value in the form that the encoder wants."""
    element = parameter.element()
    if element is not None:
        return [to_abi(each, element, what) for each in value]
    if parameter.components:
        return _struct_to_abi(value, parameter, what)
    size = _FIXED_BYTES.match(parameter.type)
    if size and (not isinstance(value, bytes) or len(value) != int(size[1])):
        raise UsageError(f"{what}: {parameter.name} has to be {size[1]} bytes")  # the encoder would pad shorter ones
    return value


def _struct_to_abi(value: Any, parameter: Parameter, what: str) -> tuple[Any, ...]:
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, each.name) for each in parameter.components]
    elif isinstance(value, Mapping):
        fields = [value[each.name] for each in parameter.components]
    else:
        fields = list(value)
    return tuple(to_abi(field, each, what) for field, each in zip(fields, parameter.components, strict=True))


def from_abi(value: Any, parameter: Parameter) -> Any:
    """A decoded value in this module's terms."""
    element = parameter.element()
    if element is not None:
        return [from_abi(each, element) for each in value]
    if parameter.components:
        return {each.name: from_abi(field, each) for field, each in zip(value, parameter.components, strict=True)}
    return to_checksum_address(value) if parameter.type == "address" else value


def revert_reason(output: bytes) -> str:
    """Why a call reverted, as far as its output says."""
    selector, body = output[:4], output[4:]
    try:
        if selector == _ERROR:
            return decode_abi(["string"], body)[0]
        if selector == _PANIC:
            return f"panic {decode_abi(['uint256'], body)[0]:#x}"
    except (DecodingError, OverflowError, UnicodeDecodeError):
        pass
    return output.hex()
