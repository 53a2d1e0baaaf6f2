"""Manifests: what a job is."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import FailFast, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tallystick.job.documents import MAX_SEGMENTS, MAX_SLOTS, MAX_STEPS, Count, Document, HexDigest, Name
from tallystick.spec.digests import manifest_id
from tallystick.spec.tensors import DType, TensorType

RECORDS = "record."
"""Slots with this prefix have one element per step; the rest of the name is what is recorded."""

LOSS_SLOT = f"{RECORDS}loss"
"""The slot in which element s is the loss of step s."""

AVERAGES = "ema."
"""Slots with this prefix are averages of trained weights; the rest of the name is the one in PyTorch's state_dict."""

DTypeName = Literal["f32", "i32", "u8", "i8", "bool", "bf16", "f16"]


OTHERS = "loss."
"""Slots with this prefix are parameters and buffers of other modules than the model, which the loss uses."""

CHECKS = "check."
"""Slots with this prefix are 0, or 1 + the first step in which something was wrong that the rest of the name says."""


class SlotFact(Document):
    """What a slot of the state is called, and its type."""

    name: Name
    dtype: DTypeName
    shape: Annotated[tuple[Count, ...], Field(max_length=8)]

    @classmethod
    def of(cls, name: str, type: TensorType) -> Self:
        return cls(name=name, dtype=dtype_name(type.dtype), shape=type.shape)

    @property
    def type(self) -> TensorType:
        return TensorType(DType[self.dtype.upper()], self.shape)


class ConstantFact(SlotFact):
    """A constant, with the tensor digest that its file is named by."""

    digest: HexDigest


class ProgramFact(Document):
    """The program: its root is what binds it, the rest is for people."""

    root: HexDigest
    bytes: Count
    kernels: Count
    work_per_step: Count


class Manifest(Document):
    """A job: a program, its constants, its start state, a number of steps, and how they are cut into segments.

    Nothing in it depends on the machine: everybody who describes the same job gets the same id.

    ``after`` is the id of the job whose end state is the start of this one, for jobs that go on where another ended. It
    is left out of documents where there is none.
    """

    format: Literal["tallystick.manifest/1"] = "tallystick.manifest/1"
    name: Name
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    segment_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    program: ProgramFact
    constants_root: HexDigest
    start_root: HexDigest
    constants: Annotated[tuple[ConstantFact, ...], FailFast(), Field(max_length=MAX_SLOTS)]
    state: Annotated[tuple[SlotFact, ...], FailFast(), Field(max_length=MAX_SLOTS)]
    after: HexDigest | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = handler(self)
        if self.after is None:
            del fields["after"]
        return fields

    @model_validator(mode="after")
    def _segments_are_bounded(self) -> Self:
        if self.segments > MAX_SEGMENTS:
            raise ValueError(f"{self.segments} segments are more than the {MAX_SEGMENTS} allowed")
        return self

    @property
    def id(self) -> bytes:
        """The job's name among machines."""
        return manifest_id(self.canonical())

    @property
    def segments(self) -> int:
        return -(-self.steps // self.segment_steps)

    @property
    def steps_before(self) -> int:
        """How many steps the runs took that this one goes on from: its records begin with theirs."""
        slot = self.slot(LOSS_SLOT)
        if self.after is None or slot is None or len(self.state[slot].shape) != 1:
            return 0
        return max(0, self.state[slot].shape[0] - self.steps)

    def boundary_step(self, boundary: int) -> int:
        """Steps done at a boundary: boundary 0 is the start, boundary k + 1 the end of segment k."""
        return min(boundary * self.segment_steps, self.steps)

    def slot(self, name: str) -> int | None:
        """The number of the state slot with this name."""
        return next((number for number, fact in enumerate(self.state) if fact.name == name), None)

    def differences(self, other: Manifest) -> list[str]:
        """The parts in which two jobs differ, in words."""
        parts = {
            "name": (self.name, other.name),
            "number of steps": (self.steps, other.steps),
            "segment length": (self.segment_steps, other.segment_steps),
            "program": (self.program, other.program),
            "data and other constants": (self.constants, other.constants),
            "start state": (self.start_root, other.start_root),
            "slots of the state": (self.state, other.state),
            "the job it goes on from": (self.after, other.after),
        }
        return [part for part, (mine, theirs) in parts.items() if mine != theirs]


def dtype_name(dtype: DType) -> DTypeName:
    """A storage type's name in documents."""
    names: dict[DType, DTypeName] = {
        DType.F32: "f32",
        DType.I32: "i32",
        DType.U8: "u8",
        DType.I8: "i8",
        DType.BOOL: "bool",
        DType.BF16: "bf16",
        DType.F16: "f16",
    }
    return names[dtype]
