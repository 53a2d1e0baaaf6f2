"""Operators compute what PyTorch computes, and the reference page of operators says so truly."""

from __future__ import annotations

import pytest
import torch

from operators import page
from operators.explanations import EXPLANATIONS
from operators.results import Results, load, tally
from operators.samples import first_samples, operators, samples_of
from operators.trial import Kind, try_sample

GROUPS = 8
TRIED = 3  # first samples among which the quick test takes one of each operator
RESULTS = load()


def claimed(results: Results = RESULTS) -> list[str]:
    return [name for name, entry in sorted(results.operators.items()) if entry.is_claimed]


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_sample_of_every_operator_that_passes_all(group: int) -> None:
    torch.set_num_threads(1)
    wrong = []
    for name in claimed()[group::GROUPS]:
        if RESULTS.operators[name].falls_short:
            continue
        for sample in first_samples(name, TRIED):
            outcomes = try_sample(sample)
            wrong += [f"{name}, sample {sample.number}: {o.message}" for o in outcomes if o.kind is Kind.FAILED]
            wrong += [f"{name}, sample {sample.number}: {o.message}" for o in outcomes if o.kind is Kind.REFUSED]
            if outcomes[0].kind is Kind.PASSED:
                break
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_no_operator_passes_less_than_it_did(group: int) -> None:
    worse = []
    for name in claimed()[group::GROUPS]:
        before, after = (
            RESULTS.operators[name],
            tally(try_sample(s) for s in samples_of(name, RESULTS.operators[name].most)),
        )
        for way in ("forward", "backward"):
            old, new = getattr(before, way), getattr(after, way)
            if new.passed < old.passed or new.failed > old.failed:
                worse.append(f"{name}: {new.passed} of {new.tried} {way}, not {old.passed}; {new.messages}")
    assert worse == []


def test_every_operator_has_been_tried() -> None:
    assert sorted(RESULTS.operators) == sorted(operators())


def test_what_falls_short_is_explained_and_nothing_else() -> None:
    assert sorted(EXPLANATIONS) == sorted(name for name, entry in RESULTS.operators.items() if entry.falls_short)


def test_the_page_is_made_of_the_results() -> None:
    assert page.PAGE.read_text("utf-8") == page.current()


def test_ninety_nine_of_a_hundred_samples_pass() -> None:
    entries = [RESULTS.operators[name] for name in claimed()]
    tried = sum(entry.forward.tried + entry.backward.tried for entry in entries)
    assert sum(entry.forward.passed + entry.backward.passed for entry in entries) >= 0.99 * tried
