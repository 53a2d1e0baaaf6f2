"""What every chain has to do for contracts' clients. Tests of the embedded chain and of real nodes inherit it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.chain.compiler import compile_contract, compile_file
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Contract, EventCursor
from tallystick.errors import ChainError, ContractReverted, UsageError

PROBE = compile_file(Path(__file__).parent / "contract_harness" / "Probe.vy")
LINE = {"name": "line", "points": [{"x": 1, "tag": b"\1" * 32}, {"x": 2**256 - 1, "tag": b"\2" * 32}]}
SLACK_S = 30
"""A node's clock runs on while a test does."""


class ChainBehaviour:
    """Needs a fixture `chain` with two signers, of any scope."""

    @pytest.fixture
    def probe(self, chain: Chain) -> Contract:
        return chain.deploy(PROBE, 5, sender=chain.signers[0])

    def test_values_of_every_type_go_there_and_back(self, chain: Chain, probe: Contract) -> None:
        arguments = [LINE, b"\0\1" * 1000, b"abcd", True, chain.signers[1].address]
        assert probe.call("echo", *arguments) == tuple(arguments)

    def test_constructor_arguments_and_immutables(self, probe: Contract) -> None:
        assert probe.call("start") == probe.call("stored") == 5

    def test_opcodes_of_the_pinned_evm_version_work(self, chain: Chain, probe: Contract) -> None:
        assert probe.call("transient_storage") == 42
        probe.transact("transient_storage", sender=chain.signers[0])

    def test_calls_come_from_whom_they_say(self, chain: Chain, probe: Contract) -> None:
        assert probe.call("caller", sender=chain.signers[1].address) == chain.signers[1].address

    def test_transactions_change_the_state(self, chain: Chain, probe: Contract) -> None:
        receipt = probe.transact("store", 9, sender=chain.signers[1])
        assert probe.call("stored") == 9
        assert 21_000 < receipt.gas_used < 50_000
        probe.transact("store", sender=chain.signers[1])
        assert probe.call("stored") == 7

    def test_calls_change_nothing(self, probe: Contract) -> None:
        probe.call("store", 9)
        assert probe.call("stored") == 5

    def test_reverts_carry_the_contracts_reason_and_change_nothing(self, chain: Chain, probe: Contract) -> None:
        for gas in (None, 200_000):
            with pytest.raises(ContractReverted, match=r"Probe\.fail reverted: not like this") as caught:
                probe.transact("fail", "not like this", sender=chain.signers[0], gas=gas)
            assert caught.value.reason == "not like this"
        with pytest.raises(ContractReverted, match="reverted: nor this") as caught:
            probe.call("fail", "nor this")
        assert probe.call("stored") == 5

    @pytest.mark.parametrize("function", ["fail_silently", "overflow"])
    def test_reverts_without_a_reason_say_so(self, chain: Chain, probe: Contract, function: str) -> None:
        arguments = [2**256 - 1] if function == "overflow" else []
        with pytest.raises(ContractReverted, match="no reason given") as caught:
            probe.transact(function, *arguments, sender=chain.signers[0])
        assert caught.value.reason == ""

    def test_running_out_of_gas_is_a_revert(self, chain: Chain, probe: Contract) -> None:
        with pytest.raises(ContractReverted, match="out of gas"):
            probe.transact("spin", sender=chain.signers[0], gas=100_000)
        assert probe.call("stored") == 5

    def test_constructors_may_refuse(self, chain: Chain) -> None:
        with pytest.raises(ContractReverted, match="Probe reverted: unlucky"):
            chain.deploy(PROBE, 13, sender=chain.signers[0])

    def test_events_are_decoded(self, chain: Chain, probe: Contract) -> None:
        receipt = probe.transact("put", 3, "note", LINE, b"\7" * 100, sender=chain.signers[1])
        first, second = receipt.events
        assert (first.name, second.name) == ("Put", "Other")
        assert dict(first.values) == {
            "number": 3,
            "who": chain.signers[1].address,
            "note": first.values["note"],  # of an indexed string there is only a hash
            "line": LINE,
            "blob": b"\7" * 100,
        }
        assert receipt.event("Other") is second
        assert receipt.timestamp <= chain.now()

    def test_events_are_read_by_blocks_and_once_each_by_a_cursor(self, chain: Chain, probe: Contract) -> None:
        cursor = EventCursor(probe)
        assert cursor.read() == []
        receipts = [
            probe.transact("put", number, "", LINE, b"", sender=chain.signers[number % 2]) for number in range(3)
        ]
        assert [event.values["number"] for event in probe.events("Put")] == [0, 1, 2]
        assert [event.values["number"] for event in probe.events("Put", receipts[1].block)] == [1, 2]
        assert [event.values["number"] for event in probe.events("Put", 0, receipts[1].block)] == [0, 1]
        assert cursor.read() == [event for receipt in receipts for event in receipt.events]
        assert cursor.read() == []

    def test_arguments_of_a_transaction_can_be_read_again(self, chain: Chain, probe: Contract) -> None:
        sent = {"number": 3, "note": "note", "line": LINE, "blob": b"\7" * 3000}
        receipt = probe.transact("put", *sent.values(), sender=chain.signers[0])
        assert probe.call_arguments("put", receipt.transaction) == sent
        with pytest.raises(ChainError, match=r"does not call Probe\.fail"):
            probe.call_arguments("fail", receipt.transaction)

    def test_unknown_transactions_are_reported(self, probe: Contract) -> None:
        with pytest.raises(ChainError):
            probe.call_arguments("put", "0x" + "12" * 32)

    def test_time_passes_when_told(self, chain: Chain, probe: Contract) -> None:
        before = chain.now()
        chain.advance_time(1000)
        assert 1000 <= chain.now() - before <= 1000 + SLACK_S
        assert 1000 - SLACK_S <= probe.call("time") - before <= 1000 + SLACK_S
        with pytest.raises(ContractReverted, match="too late"):
            probe.transact("fail_after", before + 900, sender=chain.signers[0])
        probe.transact("fail_after", chain.now() + SLACK_S, sender=chain.signers[0])

    def test_mistakes_in_calls_are_the_callers(self, chain: Chain, probe: Contract) -> None:
        for wrong in (
            lambda: probe.call("nothing"),
            lambda: probe.call("overflow", -1),
            lambda: probe.call("overflow"),
            lambda: probe.call("echo", LINE, b"", b"abc", True, chain.signers[0].address),
            lambda: probe.events("Nothing"),
            lambda: chain.advance_time(-1),
        ):
            with pytest.raises(UsageError):
                wrong()

    def test_other_code_at_an_address_is_noticed(self, chain: Chain, probe: Contract) -> None:
        token = compile_contract("TestToken")
        assert chain.contract(PROBE, probe.address).call("start") == 5
        with pytest.raises(ChainError, match="other code"):
            chain.contract(token, probe.address)
        with pytest.raises(ChainError, match="no code"):
            chain.contract(token, chain.signers[0].address)

    def test_transactions_cost_ether(self, chain: Chain, probe: Contract) -> None:
        before = chain.balance(chain.signers[0].address)
        probe.transact("store", 1, sender=chain.signers[0])
        assert chain.balance(chain.signers[0].address) < before

    def test_gas_is_what_ethereum_charges(self, chain: Chain, probe: Contract) -> None:
        """The same on every chain, with many bytes of call data (whose price the Prague fork raised), too."""
        sent = probe.transact("put", 3, "note", LINE, b"\7" * 3000, sender=chain.signers[0])
        token = chain.deploy(compile_contract("TestToken"), sender=chain.signers[0])
        mint = token.transact("mint", "0x" + "11" * 20, 5, sender=chain.signers[0])
        assert (sent.gas_used, mint.gas_used) == (149_870, 68_038)
