"""The referee contract in an EVM of its own, in the terms of its definition."""

from __future__ import annotations

from typing import Any

from pyrevm import EVM, BlockEnv

from evm.contracts import GAS, compiled, reason_of
from evm.gas import transaction_gas
from tallystick.chain.abi import Interface
from tallystick.chain.bindings import from_fields
from tallystick.chain.referee import arguments_of, function_of
from tallystick.errors import IllegalMove
from tallystick.spec.board import Claim, Game, Side
from tallystick.spec.moves import Move
from tallystick.spec.referee import PostedClaim, PostedGame, Status, Terms

DEPLOYER = "0x" + "de" * 20
FUNDS = 1 << 100  # of the token, for every account
EVERYTHING = (1 << 256) - 1
ZERO = "0x" + "00" * 20

Log = tuple[str, dict[str, Any]]


class OnChain:
    """A contract at an address in an EVM."""

    def __init__(self, evm: EVM, name: str, *arguments: Any) -> None:
        artifact = compiled(name)
        self.evm = evm
        self.interface = Interface(name, artifact.abi)
        creation = artifact.bytecode + self.interface.constructor.encode(arguments)
        self.address = evm.deploy(DEPLOYER, creation)

    def data(self, function: str, *arguments: Any) -> bytes:
        """Call data. Raises: UsageError if the arguments are not what the function takes."""
        return self.interface.function(function).encode(arguments)

    def send(self, sender: str, data: bytes) -> bytes:
        """What a transaction with these bytes returns. Raises: IllegalMove with the contract's reason."""
        try:
            return bytes(self.evm.message_call(sender, self.address, data, gas=GAS))
        except RuntimeError as error:
            raise IllegalMove(reason_of(error)) from error

    def call(self, sender: str, function: str, *arguments: Any) -> Any:
        """What a function returns. Raises: IllegalMove with the contract's reason."""
        return self.interface.function(function).decode(self.send(sender, self.data(function, *arguments)))

    def events(self, logs: list[Any]) -> list[Log]:
        """Those of what a transaction logged that are this contract's."""
        found: list[Log] = []
        for log in logs:
            if log.address.lower() == self.address.lower():
                topics = [bytes.fromhex(topic[2:]) for topic in log.topics]
                event = self.interface.event_of(topics)
                assert event is not None
                found.append((event.name, event.decode(topics, bytes(log.data[1]))))
        return found


class RefereeContract:
    """`Referee.vy` with its token, the reader of kernels and the executor of leaves.

    ``gas`` is what the last transaction paid, ``spent`` what all did by function.
    """

    def __init__(self, terms: Terms, accounts: list[str], bonds_in: str = "TestToken") -> None:
        self.evm = EVM(gas_limit=GAS)
        self.evm.set_balance(DEPLOYER, 1 << 100)
        self.token = OnChain(self.evm, bonds_in)
        self.reader = OnChain(self.evm, "KernelReader")
        self.leaf = OnChain(self.evm, "LeafExecutor")
        addresses = (self.token.address, self.reader.address, self.leaf.address)
        self.referee = OnChain(self.evm, "Referee", *addresses, terms)
        self.questions: dict[Any, bytes] = {}
        self.answers: dict[tuple[str, bytes], Any] = {}
        self.gas = 0
        self.logs: list[Any] = []
        self.spent: list[tuple[str, int]] = []
        self.block = 1
        for account in accounts:
            self.token.call(account, "mint", account, FUNDS)
            self.token.call(account, "approve", self.referee.address, EVERYTHING)

    def at(self, now: int) -> None:
        """The next transactions are in a block of this time."""
        self.block += 1
        self.evm.set_block_env(BlockEnv(number=self.block, timestamp=now))

    def transact(self, sender: str, function: str, *arguments: Any) -> Any:
        """Call a function of the referee. Raises: IllegalMove with the contract's reason."""
        data = self.referee.data(function, *arguments)
        output = self.referee.send(sender, data)
        self.gas = transaction_gas(data, self.evm.result.gas_used)
        self.logs = self.evm.result.logs
        self.spent.append((function, self.gas))
        return self.referee.interface.function(function).decode(output)

    # WHAT THE DEFINITION DOES

    def post_claim(self, sender: str, claim: Claim) -> int:
        return self.transact(sender, "post_claim", claim)

    def challenge(self, sender: str, number: int) -> int:
        return self.transact(sender, "challenge", number)

    def move(self, sender: str, number: int, move: Move) -> None:
        self.transact(sender, function_of(move), number, *arguments_of(move))

    # WHAT CAN BE SEEN

    def events(self) -> dict[str, dict[str, Any]]:
        """What the referee logged in the last transaction that it accepted, by name; the last of each."""
        return dict(self.referee.events(self.logs))

    def view(self, function: str, *arguments: Any) -> Any:
        return self.seen(self.referee, function, *arguments)

    def claim(self, number: int) -> PostedClaim:
        return self.seen(self.referee, "posted_claim", number)

    def game(self, number: int) -> PostedGame:
        return self.seen(self.referee, "posted_game", number)

    def seen(self, contract: OnChain, function: str, *arguments: Any) -> Any:
        """What a view returns. Equal bytes are decoded once: tests look at everything after every action."""
        question = (function, arguments)
        if question not in self.questions:
            self.questions[question] = contract.data(function, *arguments)
        answer = (function, contract.send(ZERO, self.questions[question]))
        if answer not in self.answers:
            value = contract.interface.function(function).decode(answer[1])
            self.answers[answer] = READERS.get(function, lambda value: value)(value)
        return self.answers[answer]

    def balance(self, account: str) -> int:
        """Tokens of an account."""
        return self.seen(self.token, "balanceOf", account)


def read_claim(values: dict[str, Any]) -> PostedClaim:
    values["status"] = Status(values["status"])
    values["claim"] = from_fields(Claim, values["claim"])
    return PostedClaim(**values)


def read_game(values: dict[str, Any]) -> PostedGame:
    left = {Side.DEFENDER: values.pop("defender_left"), Side.CHALLENGER: values.pop("challenger_left")}
    return PostedGame(**{**values, "game": from_fields(Game, values["game"])}, left=left)


READERS = {"posted_claim": read_claim, "posted_game": read_game}
