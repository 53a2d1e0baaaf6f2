"""Nodes that answer late, wrongly or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_utils.crypto import keccak

from tallystick.chain.json_rpc import LOG_BLOCKS, JsonRpcNode
from tallystick.chain.signers import KeySigner
from tallystick.errors import ChainError, TallystickError, UsageError

KEY = bytes.fromhex("ab" * 32)
SOMEBODY = "0x" + "11" * 20
Answer = Callable[[str, list[Any]], Any]


@contextmanager
def node(answer: Answer, path: str = "", **limits: float) -> Iterator[JsonRpcNode]:
    """A node with chain number 5 that answers everything else as told: a value, bytes of an own body, or an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            method = asked["method"]
            said = "0x5" if method == "eth_chainId" else answer(method, asked.get("params", []))
            reply = {"jsonrpc": "2.0", "id": asked["id"]}
            if isinstance(said, Refusal):
                body = json.dumps({**reply, "error": said.error}).encode()
            else:
                body = said if isinstance(said, bytes) else json.dumps({**reply, "result": said}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield JsonRpcNode(f"http://127.0.0.1:{server.server_port}{path}", **limits)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class Refusal:
    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.error = {"code": code, "message": message, "data": data}


def nothing(method: str, arguments: list[Any]) -> Any:
    return None


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b"null", b'{"jsonrpc":"2.0","id":0,"result":"0xzz"}'])
def test_answers_that_are_none_are_reported(body: bytes) -> None:
    with node(lambda method, arguments: body) as chain:
        for ask in (chain.block_number, chain.now, lambda: chain.code(SOMEBODY), lambda: chain.balance(SOMEBODY)):
            with pytest.raises(ChainError):
                ask()


def test_a_node_that_does_not_answer_is_not_waited_for() -> None:
    released = threading.Event()

    def wait(method: str, arguments: list[Any]) -> str:
        released.wait(10)
        return "0x1"

    with node(wait, request_timeout_s=0.1) as chain:
        began = time.monotonic()
        with pytest.raises(ChainError, match=r"does not answer \(ReadTimeout\)"):
            chain.block_number()
        assert time.monotonic() - began < 5
        released.set()


def test_a_transaction_is_not_sent_twice() -> None:
    """A request that timed out may have arrived."""
    sent = []
    released = threading.Event()

    def answer(method: str, arguments: list[Any]) -> Any:
        if method == "eth_sendRawTransaction":
            sent.append(arguments)
            released.wait(10)
        return {"eth_getBlockByNumber": {"baseFeePerGas": "0x1"}}.get(method, "0x1")

    with node(answer, request_timeout_s=0.1) as chain:
        with pytest.raises(ChainError, match="may have got the transaction") as caught:
            chain.send(KeySigner(KEY), SOMEBODY, b"", 50_000)
        released.set()
    ((raw,),) = sent
    assert caught.value.transaction == "0x" + keccak(hexstr=raw).hex()


def test_refusals_are_passed_on() -> None:
    def answer(method: str, arguments: list[Any]) -> Any:
        if method == "eth_sendRawTransaction":
            return Refusal(-32000, "nonce too low")
        return {"eth_getBlockByNumber": {"baseFeePerGas": "0x1"}}.get(method, "0x1")

    with node(answer) as chain, pytest.raises(ChainError, match="refuses: nonce too low") as caught:
        chain.send(KeySigner(KEY), SOMEBODY, b"", 50_000)
    assert caught.value.transaction is None


def test_a_chain_with_a_clock_of_its_own_says_so() -> None:
    with node(lambda method, arguments: Refusal(-32601, "the method does not exist")) as chain:
        with pytest.raises(ChainError, match="does not let its clock be moved"):
            chain.advance_time(5)
        assert chain.signers() == []


def test_the_latest_block_says_the_time_where_there_is_no_pending_one() -> None:
    blocks = {"latest": {"timestamp": "0x64"}, "pending": {"timestamp": "0xc8"}}
    with node(lambda method, arguments: blocks.get(arguments[0])) as chain:
        assert chain.now() == 200
        del blocks["pending"]
        assert chain.now() == 100


def test_logs_are_read_in_pieces() -> None:
    ranges = []

    def answer(method: str, arguments: list[Any]) -> list[Any]:
        ranges.append((int(arguments[0]["fromBlock"], 16), int(arguments[0]["toBlock"], 16)))
        return []

    with node(answer) as chain:
        assert chain.logs(SOMEBODY, 7, 7 + 2 * LOG_BLOCKS) == []
        assert chain.logs(SOMEBODY, 8, 7) == []
    last = 7 + 2 * LOG_BLOCKS
    assert ranges == [(7, 6 + LOG_BLOCKS), (7 + LOG_BLOCKS, 6 + 2 * LOG_BLOCKS), (last, last)]


@pytest.mark.parametrize("url", ["", "localhost:8545", "ftp://host", "http://", "ws://host", "file:///etc"])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        JsonRpcNode(url)


def test_messages_keep_what_is_secret_in_an_address() -> None:
    messages = []
    with pytest.raises(ChainError) as caught:
        JsonRpcNode("http://user:hunter2@127.0.0.1:1/hunter2?key=hunter2")
    messages.append(caught.value)
    with node(lambda method, arguments: b"<html>", path="/hunter2") as chain:
        for ask in (chain.block_number, chain.now, lambda: chain.advance_time(1)):
            with pytest.raises(ChainError) as caught:
                ask()
            messages.append(caught.value)
    for error in messages:
        assert "127.0.0.1" in str(error)
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__


def test_nothing_shows_a_key() -> None:
    signer = KeySigner(KEY)
    for shown in (repr(signer), str(signer), f"{[signer]}", repr(vars(signer))):
        assert "abab" not in shown.lower()
    for wrong in (b"", KEY[1:], KEY + b"\1", b"\0" * 32, b"\xff" * 32):
        with pytest.raises(TallystickError) as caught:
            KeySigner(wrong)
        assert wrong.hex() not in str(caught.value) or not wrong
