"""Equal cells have equal hashes, whatever they are held in; another cell has another one."""

from __future__ import annotations

import datetime
import gc
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolog.capture.datasets import fingerprint, read

NUMBERS = st.floats(width=64) | st.integers(-3, 3).map(float)
TABLES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=NUMBERS)
TEXTS = st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=12)
WHOLE = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9)


def marks(*values):
    return {read(value).mark for value in values}


@given(TABLES)
def test_numbers_are_one_table_in_any_container(table):
    frame = pd.DataFrame(table)
    values = [
        table, np.asfortranarray(table), np.repeat(table, 2, axis=0)[::2], table.astype(">f8"),
        table.tolist(), tuple(map(tuple, table.tolist())), table.astype(object),
        [list(row) for row in table], frame, frame.astype("Float64"), frame.astype("float64[pyarrow]"),
        frame.astype(object), polars.DataFrame(table), polars.DataFrame(table).fill_nan(None),
        sp.coo_matrix(table),
    ]  # fmt: skip
    assert len(marks(*values)) == 1
    assert len({fingerprint(value) for value in values}) == 1, "a mere numbering of columns is no name"
    named = frame.rename(columns=lambda n: f"x{n}")
    assert (
        fingerprint(named) == fingerprint(polars.DataFrame(table, schema=list(named))) != fingerprint(table)
    )


@given(TEXTS)
def test_texts_are_one_column_in_any_container(texts):
    objects = np.array(texts, dtype=object)
    series = pd.Series(texts, dtype=object)
    values = [
        texts, objects, [np.str_(text) if text is not None else np.nan for text in texts], series,
        series.astype("string"), series.astype("string[pyarrow]"), series.astype("string[python]"),
        series.astype("category"), series.to_frame(), polars.Series(texts, dtype=polars.String),
        polars.Series(texts, dtype=polars.String).cast(polars.Categorical), [[text] for text in texts],
    ]  # fmt: skip
    if None not in texts:
        values.append(pd.Series(texts, dtype="str"))
        if not any("\0" in text for text in texts):  # which NumPy's own texts end with
            values.append(np.array(texts, dtype=str))
    assert len(marks(*values)) == 1


@given(WHOLE)
def test_whole_numbers_are_one_column_in_any_container(numbers):
    series = pd.Series(numbers)
    values = [
        numbers, series, series.astype("Int64"), series.astype("int64[pyarrow]"), polars.Series(numbers),
        np.array(numbers), np.array(numbers, dtype=object), [Decimal(n) for n in numbers],
        [Fraction(n) for n in numbers],
    ]  # fmt: skip
    assert len(marks(*values)) == 1


@given(TABLES, st.data())
def test_another_cell_is_another_table(table, data):
    other = table.copy()
    place = tuple(data.draw(st.integers(0, size - 1)) for size in table.shape)
    other[place] = data.draw(NUMBERS.filter(lambda n: not np.array_equal(n, table[place], equal_nan=True)))
    found, of_other = read(table), read(other)
    assert found.mark != of_other.mark
    assert (found.rows.hashes != of_other.rows.hashes).nonzero()[0].tolist() == [place[0]]


@given(WHOLE, st.data())
def test_neighbours_beyond_what_float64_holds_differ(numbers, data):
    place = data.draw(st.integers(0, len(numbers) - 1))
    other = list(numbers)
    other[place] += -1 if numbers[place] > 0 else 1
    assert len(marks(numbers, other, np.array(numbers), np.array(other))) == 2
    big = np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53 + 1], dtype=np.uint64)
    assert len(set(read(big).rows.hashes.tolist())) == 4
    assert marks(big) == marks(big.tolist())


@pytest.mark.parametrize(
    "equal",
    [
        [True, 1, 1.0, np.int8(1), np.float32(1), Decimal(1), Fraction(1), np.bool_(True), 1 + 0j],
        [0.0, -0.0, 0, False],
        [None, float("nan"), np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan"), -np.nan],
        [2**60, np.int64(2**60), float(2**60), np.uint64(2**60)],
        ["a", np.str_("a")],
        [b"a", np.bytes_(b"a")],
        [datetime.datetime(2020, 1, 2), pd.Timestamp("2020-01-02"), np.datetime64("2020-01-02"),
         datetime.date(2020, 1, 2), np.datetime64("2020-01-02T00:00:00.000000000"),
         datetime.datetime(2020, 1, 2, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))],
        [datetime.timedelta(days=1), np.timedelta64(24, "h"), pd.Timedelta("1D")],
    ],
    ids=lambda equal: repr(equal[0]),
)  # fmt: skip
def test_equal_cells_are_one_cell(equal):
    assert len(marks(*([cell, "x"] for cell in equal))) == 1
    assert len(marks(*(np.array([cell], dtype=object) for cell in equal))) == 1


def test_cells_of_different_kinds_differ():
    cells = [1, "1", b"1", None, "nan", "None", 1.5, 0, "", 2**200, 2**200 + 1, -(2**200), 10**400, 0.1, 1j]
    cells += [Decimal("0.1"), Decimal("1e400"), Fraction(1, 3), float("inf"), -float("inf"), 1 + 1j]
    cells += [datetime.date(2020, 1, 2), datetime.timedelta(1)]
    assert len(marks(*([cell] for cell in cells))) == len(cells)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_one_column_in_any_unit(unit):
    times = pd.Series(pd.to_datetime(["2020-01-02 03:04:05", None, "1960-01-01 00:00:00"]))
    far = times.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    values = [times, far, times.to_numpy(), times.astype(object), polars.Series(times), times.tolist()]
    assert len(marks(times.astype(f"datetime64[{unit}]"), *values)) == 1
    fine = np.array(["2020-01-02T03:04:05.000000001"], dtype="M8[ns]")
    assert marks(fine) != marks(fine.astype("M8[us]"))


@given(hnp.arrays(np.int8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-1, 1)))
def test_a_sparse_matrix_is_known_whatever_its_format(table):
    matrix = sp.csr_matrix(table.astype(float))
    values = [matrix.asformat(kind) for kind in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")]
    shuffled = matrix.copy()
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        shuffled.indices[start:stop] = matrix.indices[start:stop][::-1]
        shuffled.data[start:stop] = matrix.data[start:stop][::-1]
    shuffled.has_sorted_indices = False
    entries = matrix.tocoo()
    twice = sp.coo_matrix(
        (
            np.r_[entries.data, entries.data] / 2,
            (np.r_[entries.row, entries.row], np.r_[entries.col, entries.col]),
        ),
        shape=matrix.shape,
    )
    again = sp.csr_matrix(
        (
            np.repeat(matrix.data, 2) / 2,
            np.repeat(matrix.indices, 2),
            2 * matrix.indptr,
        ),
        shape=matrix.shape,
    )
    before = twice.data.copy(), shuffled.indices.copy()
    assert len({fingerprint(value) for value in [*values, shuffled, twice, again, table]}) == 1
    assert (twice.data == before[0]).all()
    assert (shuffled.indices == before[1]).all(), "the user's own is left as it is"


def test_a_sparse_matrix_that_is_sampled_is_known_whatever_its_format(monkeypatch):
    monkeypatch.setattr("autolog.capture.rows.NUMBERS", 20_000)
    matrix = sp.random(1_000, 100, 0.1, format="csr", random_state=0)
    found = read(matrix).rows
    assert found.step == 4
    assert len({fingerprint(matrix.asformat(kind)) for kind in ("csr", "csc", "coo", "lil")}) == 1
    assert found.hashes.tolist() == read(matrix[::4], full=True).rows.hashes.tolist()


def test_rows_that_differ_have_hashes_that_differ():
    few = np.array(np.meshgrid(*[np.arange(12)] * 5)).reshape(5, -1).T  # 248,832 rows of small numbers
    for table in (
        few,
        few * 0.5,
        few.astype(np.float32) - 6,
        few[:, :2].repeat(3, axis=1) + few[:, 2:3] / 100,
    ):
        assert len(np.unique(read(table).rows.hashes)) == len(np.unique(table, axis=0))
    low = read(few).rows.hashes & np.uint64(1023)
    assert np.bincount(low.astype(int), minlength=1024).std() < 2 * np.sqrt(len(few) / 1024), (
        "also the low bits"
    )


def test_it_is_the_same_in_every_process_and_for_good():
    code = (
        "import numpy as np; from autolog.capture.datasets import fingerprint as f; "
        "print(f(np.arange(9.0).reshape(3, 3), ['a', 'b', None]), f([[1, 'x'], [2, 'y']]))"
    )
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["8274cfa6f1508827", "416826ea2ad78734"]


def test_no_random_state_is_touched_and_nothing_is_held():
    np.random.seed(0)
    random.seed(0)
    before = np.random.get_state()[1].tolist(), random.getstate()
    frame = pd.DataFrame({"a": np.arange(1000.0), "b": ["x"] * 1000})
    held = sys.getrefcount(frame)
    read(frame)
    gc.collect()
    assert sys.getrefcount(frame) == held
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before


def test_a_frame_with_nested_cells_has_a_fingerprint():
    frame = pd.DataFrame({"a": [[1, 2], [3]], "b": [{"x": 1}, None]})
    found = read(frame)
    assert found.rows is None
    assert found.notes == ()
    assert found.fingerprint != read(frame.assign(a=[[1, 2], [4]])).fingerprint
    assert read(frame.copy()).fingerprint == found.fingerprint
