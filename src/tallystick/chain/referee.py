"""The referee contract, in the terms of its specification: claims, games and moves go in and come out as the
dataclasses of ``spec``, and what the contract refuses is an ``IllegalMove`` with the specification's reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from tallystick.chain.abi import Address, Interface
from tallystick.chain.bindings import from_fields
from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Contract, Event, EventCursor, Receipt
from tallystick.chain.deployment import Deployment
from tallystick.chain.signers import Signer
from tallystick.chain.token import Token
from tallystick.errors import ChainError, ContractReverted, IllegalMove, UsageError
from tallystick.spec.board import Claim, Game, Phase, Side
from tallystick.spec.digests import ProgramHeader
from tallystick.spec.moves import Execute, Move
from tallystick.spec.referee import PostedClaim, PostedGame, Status, Terms
from tallystick.spec.standing import Reveal, Standing

SHORT_WITNESS = 8_192  # bytes that `execute` takes; beyond, `execute_long` does
_DIGEST = 32  # bytes
_FORMLESS = "not of the move's types"
"""Moves that the specification refuses for what they say may have no form that a contract takes."""

_LEANS_ON = {"KernelReader": "kernel_reader", "LeafExecutor": "leaf_executor"}
"""Contracts that the referee believes, and where it says which they are."""

_LED_BY_A_ROOT = frozenset({Phase.REVEAL_TRACE, Phase.REVEAL_TENSOR})
"""Phases whose reveals begin with the root that the children belong to."""


@dataclass(frozen=True)
class Spent:
    """What one transaction cost. `game` is None where it was about no game; `timestamp` is its block's."""

    what: str
    game: int | None
    gas: int
    timestamp: int
    transaction: str


class RefereeClient:
    """One referee contract, used by the accounts that a chain has signers of. Satisfies ``dispute.Arena``.

    ``spent`` grows by an entry for every transaction sent.
    """

    def __init__(self, chain: Chain, contract: Contract, first_block: int = 0) -> None:
        self.chain = chain
        self.contract = contract
        token: Address = contract.call("token")
        self.token = Token(Contract(chain.node, _token_interface(), token))
        self.terms = from_fields(Terms, contract.call("terms"))
        self.spent: list[Spent] = []
        self._cursor = EventCursor(contract, first_block)
        self._reveals: dict[int, tuple[Reveal, ...]] = {}

    @classmethod
    def of(cls, chain: Chain, deployment: Deployment) -> RefereeClient:
        """The referee of a deployed network.

        Raises: ChainError if it is not there, or leans on contracts that are not this version's. Its token can be any.
        """
        referee = deployment.contract(chain, "Referee")
        for name, getter in _LEANS_ON.items():
            # Asked of the referee: whoever wrote the deployment down need not have told the truth.
            chain.contract(compile_contract(name), referee.call(getter))
        return cls(chain, referee, deployment.first_block)

    @property
    def address(self) -> Address:
        return self.contract.address

    # CLAIMS

    def post_claim(self, sender: Address, claim: Claim) -> int:
        """Stand for a claim, with a bond that is approved first if need be; returns its number. Raises: IllegalMove."""
        self.approve(sender, self.terms.defender_bond)
        receipt = self._transact(sender, None, "post_claim", claim)
        return receipt.event("ClaimPosted").values["claim"]

    def challenge(self, sender: Address, claim: int) -> int:
        """Dispute a claim, with a bond likewise; returns the game's number. Raises: IllegalMove."""
        self.approve(sender, self.terms.challenger_bond)
        receipt = self._transact(sender, None, "challenge", claim)
        return receipt.event("Challenged").values["game"]

    def approve(self, sender: Address, amount: int) -> None:
        """Let the referee take this much of the sender's tokens, unless it may already."""
        if self.token.allowance(sender, self.address) < amount:
            receipt = self.token.approve(self.address, amount, sender=self._signer(sender))
            self._note("approve", None, receipt)

    # GAMES

    def now(self) -> int:
        """The time, in seconds since 1970, that a transaction sent now would find, or later."""
        return self.chain.now()

    def standing(self, game: int) -> Standing:
        """Where a game stands. Raises: IllegalMove if there is none."""
        dispute = self.game(game)
        claim = self.claim(dispute.claim)
        # Read last: who has the turn finds every move before it here, for nobody else could move since.
        return Standing(claim, dispute, self.reveals(game))

    def claim(self, number: int) -> PostedClaim:
        """A claim as it stands. Raises: IllegalMove if there is none."""
        values = self._read("posted_claim", number)
        with _meaningful():
            values["status"] = Status(values["status"])
            values["claim"] = from_fields(Claim, values["claim"])
        return PostedClaim(**values)

    def game(self, number: int) -> PostedGame:
        """A game as it stands. Raises: IllegalMove if there is none."""
        values = self._read("posted_game", number)
        left = {Side.DEFENDER: values.pop("defender_left"), Side.CHALLENGER: values.pop("challenger_left")}
        with _meaningful():
            values["game"] = from_fields(Game, values["game"])
        return PostedGame(**values, left=left)

    def reveals(self, game: int) -> tuple[Reveal, ...]:
        """What the defender has revealed in a game, in order."""
        first = self._cursor.next_block
        try:
            with _meaningful():
                read = [(event.values["game"], _reveal(event)) for event in self._cursor.read() if _is_reveal(event)]
        except ChainError:
            self._cursor.next_block = first  # what is not understood now is read again
            raise
        for number, reveal in read:
            self._reveals[number] = (*self._reveals.get(number, ()), reveal)
        return self._reveals.get(game, ())

    def move(self, sender: Address, game: int, move: Move) -> int:
        """Make a move; returns the gas it took. Raises: IllegalMove, and then nothing changed."""
        try:
            arguments = arguments_of(move)
        except OverflowError as error:
            raise IllegalMove(_FORMLESS) from error
        return self._transact(sender, game, function_of(move), game, *arguments).gas_used

    def timeout(self, sender: Address, game: int) -> int:
        """End a game whose side to move let its time run out; returns gas. Raises: IllegalMove."""
        return self._transact(sender, game, "timeout", game).gas_used

    # MONEY

    def refund(self, sender: Address, game: int) -> int:
        """Give a challenger's bond back whose claim was convicted in another game; returns gas. Raises: IllegalMove."""
        return self._transact(sender, game, "refund", game).gas_used

    def release(self, sender: Address, claim: int) -> int:
        """Give a defender's bond back when nobody can challenge any more; returns gas. Raises: IllegalMove."""
        return self._transact(sender, None, "release", claim).gas_used

    def owed(self, address: Address) -> int:
        """What somebody may withdraw."""
        return self._read("owed", address)

    def withdraw(self, sender: Address) -> int:
        """Have paid out what the sender is owed; returns how much that was. Raises: IllegalMove."""
        return self._transact(sender, None, "withdraw").event("Withdrawn").values["amount"]

    def gas(self, game: int) -> int:
        """Of all transactions sent from here in a game."""
        return sum(spent.gas for spent in self.spent if spent.game == game)

    def _read(self, function: str, *arguments: Any) -> Any:
        try:
            return self.contract.call(function, *arguments)
        except ContractReverted as reverted:
            raise _illegal(reverted) from reverted

    def _transact(self, sender: Address, game: int | None, function: str, *arguments: Any) -> Receipt:
        signer = self._signer(sender)
        try:
            receipt = self.contract.transact(function, *arguments, sender=signer)
        except ContractReverted as reverted:
            raise _illegal(reverted) from reverted
        except UsageError as error:
            raise IllegalMove(_FORMLESS) from error
        self._note(function, game, receipt)
        return receipt

    def _note(self, what: str, game: int | None, receipt: Receipt) -> None:
        self.spent.append(Spent(what, game, receipt.gas_used, receipt.timestamp, receipt.transaction))

    def _signer(self, address: Address) -> Signer:
        return self.chain.signer(address)


def deploy_referee(chain: Chain, terms: Terms, sender: Signer, token: Address | None = None) -> Deployment:
    """Put a referee on a chain, with the contracts that read kernels and execute leaves for it.

    `token` is the ERC-20 that bonds are posted in; without one a test token is put there, too.
    """
    first_block = chain.block_number()
    addresses: dict[str, Address] = {}
    if token is None:
        token = addresses["TestToken"] = chain.deploy(compile_contract("TestToken"), sender=sender).address
    for name in ("KernelReader", "LeafExecutor"):
        addresses[name] = chain.deploy(compile_contract(name), sender=sender).address
    artifact = compile_contract("Referee")
    referee = chain.deploy(artifact, token, addresses["KernelReader"], addresses["LeafExecutor"], terms, sender=sender)
    return Deployment(chain.chain_id, first_block, {**addresses, "Referee": referee.address})


def function_of(move: Move) -> str:
    """The contract's function for a move: its name in small letters; that of a long witness is another one."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(move).__name__).lower()
    return f"{name}_long" if isinstance(move, Execute) and len(move.witness) > SHORT_WITNESS else name


def arguments_of(move: Move) -> list[Any]:
    """A move's fields in order, as the contract takes them: headers and accumulators as bytes."""
    values = [getattr(move, field.name) for field in fields(move)]
    if isinstance(move, Execute):
        values[2] = b"".join(word.to_bytes(4, "little") for word in move.accumulators)
    return [value.encode() if isinstance(value, ProgramHeader) else value for value in values]


@contextmanager
def _meaningful() -> Iterator[None]:
    """Numbers that come from outside have to be phases, sides and the like."""
    try:
        yield
    except ValueError as error:
        raise ChainError(f"The node tells of a referee what none would say: {error}") from error


def _is_reveal(event: Event) -> bool:
    return event.name == "Revealed"


def _reveal(event: Event) -> Reveal:
    phase = Phase(event.values["phase"])
    data: bytes = event.values["data"]
    return Reveal(phase, data[_DIGEST:] if phase in _LED_BY_A_ROOT else data)


def _illegal(reverted: ContractReverted) -> IllegalMove:
    return IllegalMove(reverted.reason or _FORMLESS)


def _token_interface() -> Interface:
    return Interface("Token", compile_contract("TestToken").abi)
