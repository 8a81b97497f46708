"""What data is, by how many of its rows are among the training rows: cases that can be counted on fingers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolog.capture import overlap, rows
from autolog.capture.overlap import KnownRows, judged


@pytest.mark.parametrize(
    ("found", "looked_up", "twins", "verdict"),
    [
        (200, 200, 0.0, "training"),
        (1, 1, 0.0, "training"),
        (3, 3, 0.005, "training"),
        (200, 200, 0.9, "training"),  # by chance 7e-10
        (100, 100, 0.9, "unknown"),  # by chance 3e-5
        (200, 200, 1.0, "unknown"),
        (2, 2, 0.01, "unknown"),
        (0, 1, 0.0, "held out"),
        (0, 200, 0.0, "held out"),
        (10, 200, 0.0, "held out"),  # a leak
        (140, 200, 0.7, "held out"),
        (20, 200, 0.06, "held out"),
        (199, 200, 0.995, "held out"),
        (133, 200, 0.0, "unknown"),
        (199, 200, 0.0, "unknown"),
        (160, 200, 0.5, "unknown"),
        (1, 3, 0.0, "unknown"),
        (0, 0, 0.0, "unknown"),
    ],
)
def test_a_verdict(found, looked_up, twins, verdict):
    assert judged(found, looked_up, twins=twins, known=1_000) == verdict


@pytest.mark.parametrize(
    ("found", "looked_up", "verdict"),
    [(1000, 1000, "training"), (205, 1000, "training"), (0, 1000, "held out"), (10, 1000, "held out"),
     (130, 1000, "unknown"), (600, 1000, "unknown"), (0, 10, "unknown"), (1, 10, "unknown")],
)  # fmt: skip
def test_a_verdict_where_a_fifth_of_the_training_rows_is_known(found, looked_up, verdict):
    assert judged(found, looked_up, twins=0.0, known=10_000, share=0.2) == verdict


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.01, 1))
def test_none_found_is_never_training_and_all_found_never_held_out(looked_up, twins, share):
    assert judged(0, looked_up, twins=twins, known=500, share=share) != "training"
    assert judged(looked_up, looked_up, twins=twins, known=500, share=share) != "held out"


def known(table):
    return KnownRows.of(rows.read(table))


def test_which_rows_have_twins():
    assert known(np.arange(10)).twins == 0
    assert known(np.array([1, 1, 2, 3, 4, 4, 4, 5, 6, 7])).twins == 0.5
    assert known(np.array([1])).twins == 0


def test_the_number_of_rows_that_are_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(overlap, "KEPT", 1_000)
    table = np.random.default_rng(0).random((20_000, 3))
    training = known(table[:15_000])
    assert 400 < len(training.hashes) <= 1_000
    part, held_out = training.overlap(rows.read(table[:5_000])), training.overlap(rows.read(table[15_000:]))
    assert (part.verdict, held_out.verdict) == ("training", "held out")
    assert part.found == part.looked_up < 500
    assert training.overlap(rows.read(table[:15_000][::-1])).is_whole
    assert not part.is_whole
    constant = known(np.ones((20_000, 3)))
    assert len(constant.hashes) <= 1_000
    assert constant.overlap(rows.read(np.ones((50, 3)))).verdict == "unknown"


def test_training_data_that_is_sampled_is_known_by_its_sample(monkeypatch):
    monkeypatch.setattr(rows, "NUMBERS", 100_000)
    table = np.random.default_rng(0).random((40_000, 3))
    training = known(table[:30_000])
    assert training.share == 1 / 8
    picked = np.random.default_rng(1).permutation(30_000)[:3_000]
    assert training.overlap(rows.read(table[picked])).verdict == "training"
    assert not training.overlap(rows.read(table[:30_000:8])).is_whole, "though it is all that is known"
    assert training.overlap(rows.read(table[30_000:34_000])).verdict == "held out"
    assert training.overlap(rows.read(table[28_000:32_000])).verdict == "unknown"


def test_batches_that_come_again_do_not_make_twins():
    table = np.random.default_rng(0).random((1_000, 3))
    joined = known(table[:100])
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(1_000) if epoch else np.arange(1_000)
        for start in range(0, 1_000, 100):
            joined = joined.joined(rows.read(table[order[start : start + 100]]))
    assert (joined.rows, joined.twins) == (1_000, 0)
    assert joined.overlap(rows.read(table[::3])).verdict == "training"
    assert joined.overlap(rows.read(table[::-1])).is_whole
    assert joined.overlap(rows.read(table + 1)).verdict == "held out"


def test_batches_of_few_distinct_rows_cannot_be_told_from_others():
    table = np.random.default_rng(0).integers(0, 3, (1_000, 1))
    joined = known(table[:100])
    for start in range(100, 1_000, 100):
        joined = joined.joined(rows.read(table[start : start + 100]))
    assert joined.twins > 0.99
    assert joined.overlap(rows.read(table[:100])).verdict == "unknown"


def test_equal_data_is_kept_once():
    table = np.random.default_rng(0).random((100, 3))
    first = known(table)
    assert known(table.copy()) is first
    assert known(table + 1) is not first
