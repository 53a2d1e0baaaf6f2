"""Affine functions of flattened axes."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tallystick.engine.contraction_forms import Form

AXES = st.lists(st.tuples(st.integers(1, 4), st.integers(-6, 6)), min_size=1, max_size=4)


@given(AXES)
def test_a_form_has_the_value_of_the_affine_expression(axes: list[tuple[int, int]]) -> None:
    extents, strides = [extent for extent, _ in axes], [stride for _, stride in axes]
    form = Form.of(extents, strides)
    values = []
    for number, indices in enumerate(product(*(range(extent) for extent in extents))):
        value = sum(stride * index for stride, index in zip(strides, indices, strict=True))
        assert form.at(number) == value
        values.append(value)
    assert (form.lowest, form.highest) == (min(values), max(values))


def test_axes_that_are_walked_evenly_are_one_digit() -> None:
    assert Form.of((3, 4, 5), (20, 5, 1)) == Form(((60, 1),))


def test_axes_of_one_point_do_not_keep_others_from_merging() -> None:
    assert Form.of((3, 1, 5), (5, 99, 1)) == Form(((15, 1),))


def test_a_gap_between_rows_keeps_them_apart() -> None:
    form = Form.of((3, 5), (8, 1))
    assert form.digits == ((3, 8), (5, 1))
    assert (form.run, form.stride, form.is_linear) == (5, 1, False)


def test_nothing_to_walk_is_linear_and_zero() -> None:
    form = Form.of((1, 1), (7, 7))
    assert (form.run, form.stride, form.is_linear, form.is_zero) == (1, 0, True, True)
