"""Every exception Tallystick raises on purpose.

    TallystickError
    ├── ProtocolError            an outcome expected in normal operation; its fields are the evidence
    │   ├── DecodingError        bytes are not a canonical program (names the field and the offset)
    │   ├── IntegrityError       stored or received bytes do not match their digest
    │   ├── ReceiptError         a receipt is malformed, or its signature does not hold
    │   ├── ContractReverted     a contract refused a call (its reason, as the contract gave it)
    │   ├── ChainError           a chain does not answer, or does not take a transaction (says what to do)
    │   ├── VerificationFailed   re-execution disagrees with a claim (says where)
    │   ├── IllegalMove          a move of a dispute that its rules refuse (gives the referee's reason)
    │   └── CannotAnswer         a player of a dispute knows no move that could be right (says why)
    └── UsageError (ValueError)  the caller's mistake; the message says how to mend it
        ├── ProgramError         a program breaks a rule of the IR (names kernel and field)
        ├── CaptureError         PyTorch code that cannot be lowered (names operator and source line)
        ├── ResourceError        a job does not fit the memory or disk it was given
        └── JobError             a job description or run folder that cannot be used as asked

Anything else that escapes is a bug in Tallystick itself.
"""

from __future__ import annotations


class TallystickError(Exception):
    """Root of the tree."""


class ProtocolError(TallystickError):
    """An outcome expected in normal operation."""


class DecodingError(ProtocolError):
    """Bytes that are not canonical."""

    def __init__(self, field: str, offset: int, problem: str) -> None:
        super().__init__(f"{field} at byte {offset}: {problem}")
        self.field = field
        self.offset = offset
        self.problem = problem


class IntegrityError(ProtocolError):
    """Bytes that do not match the digest they were asked for by."""


class ReceiptError(ProtocolError):
    """A receipt that is malformed or whose signature does not hold."""


class ContractReverted(ProtocolError):
    """A contract refused a call, and nothing changed."""

    def __init__(self, call: str, reason: str) -> None:
        super().__init__(f"{call} reverted: {reason or 'no reason given (out of gas, perhaps)'}")
        self.call = call
        self.reason = reason


class ChainError(ProtocolError):
    """A chain that does not answer, or does not take a transaction. `transaction` is the hash of one that was sent and
    may yet be included.
    """

    def __init__(self, message: str, transaction: str | None = None) -> None:
        super().__init__(message)
        self.transaction = transaction


class VerificationFailed(ProtocolError):
    """Re-execution disagrees with a claim."""


class IllegalMove(ProtocolError):
    """A move that the rules of a dispute refuse. ``reason`` is the word of the referee contract."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the referee refuses this move: {reason}")
        self.reason = reason


class CannotAnswer(ProtocolError):
    """A player has no move: what he stands for cannot be shown."""


class UsageError(TallystickError, ValueError):
    """The caller's mistake; the message says how to mend it."""


class ProgramError(UsageError):
    """A program that breaks a rule of the intermediate representation."""


class CaptureError(UsageError):
    """PyTorch code that cannot be lowered."""


class ResourceError(UsageError):
    """A job that does not fit the memory or disk it was given."""


class JobError(UsageError):
    """A job description or run folder that cannot be used as asked."""
