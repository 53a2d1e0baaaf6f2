"""Compiled programs on disk: used when whole, made again when not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine_kernels import code
from tallystick.engine import Engine, Target, engine
from tallystick.engine.cache import CodeCache, cache_key
from tallystick.engine.target import runnable
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, View


def program(factor: float = 2.0) -> Program:
    type = TensorType(DType.F32, (10,))
    scale = code(lambda b: b.fmul(b.load(0), b.float(factor)))
    return Program((type,), (), (Kernel((10,), (), (View(0, Address(0, (1,))),), scale, (DType.F32,)),), (1,))


def result(made: Engine) -> list[float]:
    with made.start([np.ones(10, np.float32)], []) as session:
        session.advance(3)
        return session.state()[0].tolist()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled."""
    texts: list[str] = []
    compile_object = engine.compile_object

    def count(text: str, target: Target) -> bytes:
        texts.append(text)
        return compile_object(text, target)

    monkeypatch.setattr(engine, "compile_object", count)
    return texts


def test_a_program_is_compiled_once(tmp_path: Path, compilations: list[str]):
    for _ in range(3):
        assert result(Engine(program(), 1, cache=tmp_path)) == [8.0] * 10
    assert len(compilations) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "garbage"])
def test_a_damaged_file_is_made_again(damage: str, tmp_path: Path, compilations: list[str]):
    Engine(program(), 1, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes({"flip": bytes(data), "cut": bytes(data[:-9]), "empty": b"", "garbage": b"x" * 1000}[damage])
    assert result(Engine(program(), 1, cache=tmp_path)) == [8.0] * 10
    assert result(Engine(program(), 1, cache=tmp_path)) == [8.0] * 10
    assert len(compilations) == 2


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, compilations: list[str]):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert result(Engine(program(), 1, cache=blocked / "cache")) == [8.0] * 10
    assert len(compilations) == 1


def test_keys_differ_with_everything_code_depends_on():
    targets = [Target(isa, level) for isa in runnable() for level in (0, 3)]
    keys = {cache_key(program(), target) for target in targets}
    keys |= {cache_key(program(3.0), target) for target in targets}
    assert len(keys) == 2 * len(targets)


def test_old_programs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tallystick.engine.cache.KEPT", 2)
    for factor in (2.0, 3.0, 4.0):
        Engine(program(factor), 1, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert CodeCache(tmp_path).load(cache_key(program(4.0), Target.host())) is not None
