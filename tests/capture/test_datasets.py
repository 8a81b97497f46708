"""Data is told apart by its content, described in bounds, and never consumed."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import polars
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolog.capture import rows
from autolog.capture.datasets import describe, fingerprint

X = np.arange(12.0).reshape(6, 2)
FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": pd.Categorical(["u", "v"])})


class Held:
    def __init__(self, value):
        self.value = value


def different(*values):
    found = [fingerprint(value) for value in values]
    return len(set(found)) == len(found) and all(len(text) == 16 for text in found)


def test_content_and_shape_count():
    changed = X.copy()
    changed[3, 1] += 1e-12
    assert different(
        X, changed, X.reshape(2, 6), X.ravel(), X.ravel().reshape(-1, 1),
        pd.DataFrame(X, columns=["a", "b"]), X > 0,
        X[:0], None, "a", b"a", ["a"], ["x", "ystr z"], ["xstr y", "z"], {"a": X}, {"b": X}, [X],
        [[1], [2, 3]],
    )  # fmt: skip


def test_frames_differ_by_name_and_cell():
    assert different(
        FRAME,
        FRAME.rename(columns={"a": "z"}),
        FRAME.rename(columns={"a": "b", "b": "a"}),
        FRAME.assign(b=["x", "z"]),
        FRAME.assign(c=pd.Categorical(["u", "u"])),
        FRAME["a"],
        FRAME["b"],
        FRAME["c"],
    )


def test_memory_layout_and_index_do_not_count():
    assert fingerprint(np.asfortranarray(X)) == fingerprint(X)
    assert fingerprint(np.repeat(X, 2, axis=0)[::2]) == fingerprint(X)
    assert fingerprint(FRAME.set_index(pd.Index([7, 8]))) == fingerprint(FRAME)
    assert fingerprint(X, X[:, 0]) != fingerprint(X[:, 0], X)


def test_equal_strings_count_equally_whether_or_not_they_are_one_object():
    apart = "".join(["a", "b"])
    assert fingerprint(["ab", "ab"]) == fingerprint(["ab", apart])
    assert fingerprint(Held(["ab", "ab"])) == fingerprint(Held(["ab", apart]))
    assert fingerprint(np.array(["ab", apart], dtype=object)) == fingerprint(
        np.array(["ab", "ab"], dtype=object)
    )


def test_it_is_the_same_in_every_process():
    code = (
        "from autolog.capture.datasets import fingerprint as f; import numpy as np; "
        "import pandas as pd, pathlib; "
        "print(f(np.arange(9.0), ['a', 'b'], {'k': {'x', 'y', 'z'}}, pathlib.PurePosixPath('a'), "
        "pd.DataFrame({'a': ['u', 'v']})))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_one_changed_cell_of_up_to_100_mb_is_seen():
    one = np.random.default_rng(0).random((300_000, 20))
    other = one.copy()
    other[150_003, 7] += 1e-9
    assert not describe(one).sampled
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(np.asfortranarray(one)) == fingerprint(pd.DataFrame(one))


@pytest.fixture
def small_bounds(monkeypatch):
    monkeypatch.setattr(rows, "NUMBERS", 2_000_000)
    monkeypatch.setattr(rows, "OBJECTS", 200_000)


TEXTS = [f"t{n}" for n in range(50_000)]


@pytest.mark.parametrize(
    "value",
    [np.arange(600_000.0).reshape(-1, 4), np.arange(600_000.0), list(range(600_000)),
     pd.DataFrame(np.arange(600_000.0).reshape(-1, 4)), pd.Series(np.arange(600_000.0)),
     sp.random(5_000, 1_000, 0.1, format="csr", random_state=0), sp.random(5_000, 1_000, 0.1, random_state=0),
     TEXTS, np.array(TEXTS, dtype=object), np.array(TEXTS), pd.DataFrame({"t": TEXTS}), pd.Series(TEXTS),
     polars.Series(TEXTS), polars.DataFrame({"t": TEXTS}), [[text] for text in TEXTS],
     np.random.default_rng(0).random((2, 700_000)), np.random.default_rng(0).random((40, 3, 60, 60))],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'shape', '')}",
)  # fmt: skip
def test_what_is_too_large_is_sampled_over_its_whole_length(small_bounds, value):
    assert describe(value).sampled
    assert not describe(value, full=True).sampled
    part = value.tocsr()[:1] if sp.issparse(value) else value[:1]
    assert fingerprint(part) != fingerprint(value) != fingerprint(value, full=True)


@pytest.mark.parametrize("place", [slice(None, 500), slice(-500, None)])
def test_a_sample_is_of_the_beginning_and_of_the_end(small_bounds, place):
    one = np.random.default_rng(0).random((300_000, 4))
    other = one.copy()
    other[place] += 1
    assert fingerprint(one) != fingerprint(other)
    alike = pd.DataFrame(one), polars.DataFrame(one), np.asfortranarray(one), one.tolist()
    assert {fingerprint(one)} == {fingerprint(value) for value in alike}


@pytest.mark.parametrize(
    "value",
    [np.zeros((90_000, 20)), np.zeros((90_000, 20), order="F"), np.zeros((600_000, 8))[:, ::2],
     np.zeros((4_000, 30, 30), order="F"), pd.DataFrame(np.zeros((90_000, 20))),
     polars.DataFrame(np.zeros((90_000, 20))), np.zeros((90_000, 20), dtype=np.float32)],
    ids=lambda value: f"{type(value).__name__} {value.shape}",
)  # fmt: skip
def test_what_is_read_whole_is_not_copied_whole(value):
    fingerprint(value)  # what is made once per process
    tracemalloc.start()
    fingerprint(value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 2**20


@given(hnp.arrays(hnp.scalar_dtypes() | hnp.unicode_string_dtypes(), hnp.array_shapes(min_side=0)))
def test_any_array_has_a_fingerprint_and_a_description(array):
    found = describe(array)
    assert found.fingerprint == fingerprint(array.copy(order="F"))
    assert found.shape == array.shape
    json.dumps([found.config(), found.head])


# --------------------------------------------------------------------------- describe


def test_an_array_with_classes():
    found = describe(X, np.array([0, 1, 1, 0, 1, 1]))
    assert (found.rows, found.shape, found.kind) == (6, (6, 2), "ndarray")
    assert found.dtypes == {"*": "float64"}
    assert found.columns is None
    assert found.target == {"classes": {"0": 2, "1": 4}}
    assert found.missing == 0
    assert found.head[:2] == [{"x0": 0.0, "x1": 1.0, "target": 0}, {"x0": 2.0, "x1": 3.0, "target": 1}]
    assert len(found.head) == 5


def test_a_frame_with_a_named_target():
    frame = FRAME.assign(a=[1.0, None])
    found = describe(frame, pd.Series(["no", "yes"], name="label"))
    assert found.columns == ["a", "b", "c"]
    assert found.dtypes == {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert found.missing == 1
    assert found.target == {"classes": {"no": 1, "yes": 1}}
    assert found.head[0] == {"a": 1.0, "b": "x", "c": "u", "label": "no"}


def test_polars_reads_as_pandas_does():
    frame = polars.DataFrame({"a": [1.0, None], "b": ["x", "y"]})
    found = describe(frame, frame["b"])
    assert (found.rows, found.kind, found.columns) == (2, "DataFrame", ["a", "b"])
    assert found.missing == 1
    assert found.target == {"classes": {"x": 1, "y": 1}}
    assert found.head[1] == {"a": None, "b": "y", "target": "y"}
    assert fingerprint(frame) == fingerprint(frame.clone())
    assert fingerprint(frame) != fingerprint(frame.with_columns(b=polars.lit("z")))


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_sparse_matrices(layout):
    matrix = sp.csr_matrix(X).asformat(layout)
    found = describe(matrix)
    assert (found.rows, found.shape) == (6, (6, 2))
    assert found.head[1] == {"x0": 2.0, "x1": 3.0}
    assert fingerprint(matrix) == fingerprint(matrix.copy())
    assert fingerprint(matrix) != fingerprint(sp.csr_matrix(X + 1).asformat(layout))


@pytest.mark.parametrize(
    ("y", "target"),
    [
        (["a", "b", "a"], {"classes": {"a": 2, "b": 1}}),
        ([1, "b", 1], {"classes": {"1": 2, "b": 1}}),
        ([True, False, True], {"classes": {"False": 1, "True": 2}}),
        ([1.0, 0.0, 1.0], {"classes": {"0": 1, "1": 2}}),
        ([1.0, float("nan"), 1.0], {"classes": {"1": 2}}),
        ([0.5, 1.5], {"mean": 1.0, "std": 0.5, "min": 0.5, "max": 1.5}),
        (list(range(101)), {"mean": 50.0, "std": np.arange(101).std(), "min": 0.0, "max": 100.0}),
        ([[1], [2]], {"classes": {"1": 1, "2": 1}}),
        ([[1, 2], [2, 3]], {"outputs": 2}),
        ([float("nan")], None),
        ([], None),
    ],
)
def test_targets(y, target):
    assert describe(X, y).target == target
    if y and not isinstance(y[0], bool):
        assert describe(X, np.array(y, dtype=object if "b" in y else None)).target == target


def test_a_target_with_very_many_names_keeps_the_most_frequent():
    found = describe(X, [f"c{n}" for n in range(300)] + ["c7"])
    assert len(found.target["classes"]) == 101
    assert found.target["classes"]["c7"] == 2
    assert found.target["classes"]["… (+200 classes)"] == 200


def test_a_very_long_target_is_sampled_and_says_so():
    found = describe(X, np.zeros(300_000, dtype=int))
    assert found.sampled
    assert found.target == {"classes": {"0": 100_000}, "sampled": 100_000}


class Unwilling:
    @property
    def shape(self):
        raise RuntimeError("no")

    def __len__(self):
        raise RuntimeError("no")

    def __reduce__(self):
        raise RuntimeError("no")


class Loader:
    def __iter__(self):
        raise AssertionError("a loader must not be read")

    def __len__(self):
        return 3


def test_iterators_and_loaders_are_described_by_their_type():
    generator = (n for n in range(3))
    found = describe(generator)
    assert (found.kind, found.rows, found.shape, found.head) == ("generator", None, (), [])
    assert list(generator) == [0, 1, 2]
    iterator = iter([1, 2])
    describe(iterator, iterator)
    assert fingerprint(iterator) == fingerprint(iter([3]))
    assert list(iterator) == [1, 2]
    assert describe(Loader()).rows is None


@pytest.mark.parametrize(
    "value",
    [None, 3, "text", object(), Unwilling(), [], {}, (), pd.DataFrame(), np.float64(1), lambda: 0,
     [[1], [2, 3]], [None, {}], {"a": Unwilling()}, np.array(3), b"abc", {1, 2}],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_nothing_raises(value):
    for found in (describe(value), describe(X, value), describe(value, value)):
        json.dumps([found.config(), found.head])
        assert len(found.fingerprint) == 16


def test_a_mapping_of_inputs():
    found = describe({"ids": X, "mask": X[:, 0]}, [0] * 6, head=1)
    assert (found.rows, found.columns) == (6, ["ids", "mask"])
    assert found.dtypes == {"ids": "float64", "mask": "float64"}
    assert found.head == [{"ids": [0.0, 1.0], "mask": 0.0, "target": 0}]


def test_the_config_stays_small_and_the_head_has_no_secrets():
    frame = pd.DataFrame({f"column {n}": [n] for n in range(1000)})
    found = describe(frame)
    assert len(json.dumps(found.config())) < 2000
    assert found.config()["dtypes"] == {"int64": 200}
    assert len(found.columns) == 200
    assert len(found.head[0]) == 50
    token = "hf_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    assert token not in str(describe([f"a {token}"], [token]))


@given(st.lists(st.integers() | st.text() | st.none() | st.lists(st.floats()), max_size=8))
def test_any_list_gives_json(values):
    found = describe(values, values)
    json.dumps([found.config(), found.head])
    assert found.fingerprint == fingerprint(list(values), list(values))
