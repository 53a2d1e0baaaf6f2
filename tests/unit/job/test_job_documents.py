"""Documents have one form of their bytes, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import ReceiptError
from tallystick.job.documents import LINE, canonical_json, first_difference, pretty
from tallystick.job.manifest import Manifest, SlotFact
from tallystick.spec.tensors import DType, TensorType

JSON_VALUES = st.recursive(
    st.integers() | st.text() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_pretty_and_canonical_json_mean_the_same(value: object) -> None:
    assert json.loads(pretty(value)) == value
    assert json.loads(canonical_json(value)) == value


def test_pretty_keeps_numbers_and_short_things_on_one_line() -> None:
    value = {"numbers": list(range(100)), "short": {"a": 1, "b": [2]}, "long": ["x" * 60, "y" * 60, "z" * 60]}
    lines = pretty(value).split("\n")
    assert lines[1] == '  "numbers": ' + str(list(range(100))) + ","
    assert lines[2] == '  "short": {"a": 1, "b": [2]},'
    assert lines[3] == '  "long": ['
    assert all(len(line) <= LINE for line in lines if "numbers" not in line)


def test_first_difference_counts_lines_and_columns_from_one() -> None:
    assert first_difference(b"ab\ncd", b"ab\ncX") == "line 2, column 2"
    assert first_difference(b"Xb", b"ab") == "line 1, column 1"
    assert first_difference(b"ab", b"ab\n") == "line 1, column 3"


@pytest.mark.parametrize("dtype", list(DType))
def test_slot_facts_keep_every_type(dtype: DType) -> None:
    type = TensorType(dtype, (2, 3))
    fact = SlotFact.of("a", type)
    assert fact.type == type
    assert SlotFact.parse(fact.text().encode(), "it") == fact


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"name": "a", "dtype": "f64", "shape": [2]}\n', "dtype"),
        (b'{"name": "a", "dtype": "f32", "shape": [2.0]}\n', "shape.0"),
        (b'{"name": "a", "dtype": "f32", "shape": ["2"]}\n', "shape.0"),
        (b'{"name": "a", "dtype": "f32", "shape": [-1]}\n', "shape.0"),
        (b'{"name": "a", "dtype": "f32", "shape": [true]}\n', "shape.0"),
        (b'{"name": "a", "dtype": "f32", "shape": [1,1,1,1,1,1,1,1,1]}\n', "shape"),
        (b'{"name": "", "dtype": "f32", "shape": []}\n', "name"),
        (b'{"name": "a\\u001b[31m", "dtype": "f32", "shape": []}\n', "name"),
        (b'{"name": "\xe2\x80\xaea", "dtype": "f32", "shape": []}\n', "name"),
        (b'{"name": "a", "dtype": "f32", "shape": [], "more": 1}\n', "more"),
        (b'{"name": "a", "dtype": "f32"}\n', "shape"),
        (b'{"name": "a", "dtype": "f32", "shape": [2] }\n', "canonical form.*line 1, column"),
        (b'{"name": "a", "dtype": "f32", "shape": [2]}', "canonical form"),
        (b'{"name": "b", "name": "a", "dtype": "f32", "shape": [2]}\n', "canonical form"),
        (b'{"name": "\\u0061", "dtype": "f32", "shape": [2]}\n', "canonical form"),
        (b"[" * 100_000, "malformed"),
        (b"", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"1" * 10_000, "malformed"),
    ],
)
def test_anything_else_is_refused_with_its_place(text: bytes, words: str) -> None:
    with pytest.raises(ReceiptError, match=words):
        SlotFact.parse(text, "it")


def test_the_messages_of_many_errors_are_one_line() -> None:
    broken = {"format": "tallystick.manifest/1", "constants": [{}] * 1000, "state": [{"x": "\x1b"}] * 1000}
    with pytest.raises(ReceiptError) as caught:
        Manifest.parse(json.dumps(broken).encode(), "it")
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
