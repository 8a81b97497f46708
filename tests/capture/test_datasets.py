"""Data is told apart by its content, described in bounds, and never consumed."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolog.capture.datasets import describe, fingerprint

X = np.arange(12.0).reshape(6, 2)
FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": pd.Categorical(["u", "v"])})


class Held:
    def __init__(self, value):
        self.value = value


def different(*values):
    found = [fingerprint(value) for value in values]
    return len(set(found)) == len(found) and all(len(text) == 16 for text in found)


def test_content_type_and_shape_all_count():
    changed = X.copy()
    changed[3, 1] += 1e-12
    assert different(
        X, changed, X.astype("f4"), X.reshape(2, 6), X.ravel(), X.tolist(), sp.csr_matrix(X),
        pd.DataFrame(X), X > 0,
        X[:0], None, "a", b"a", ["x", "ystr z"], ["xstr y", "z"], {"a": X}, {"b": X},
    )  # fmt: skip


def test_frames_differ_by_name_type_and_cell():
    assert different(
        FRAME,
        FRAME.rename(columns={"a": "z"}),
        FRAME.assign(b=["x", "z"]),
        FRAME.assign(c=pd.Categorical(["u", "u"])),
        FRAME.astype({"a": "float32"}),
        FRAME["a"],
        FRAME["b"],
        FRAME["c"],
        FRAME["c"].astype(object),
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


def big(rows=600_000):
    return np.random.default_rng(0).random((rows, 4))


def test_a_large_array_is_sampled_over_its_whole_length():
    one = big()
    assert describe(one).sampled
    assert not describe(one[:1000]).sampled
    for part in (slice(None, 100_000), slice(-100_000, None)):
        other = one.copy()
        other[part] += 1
        assert fingerprint(other) != fingerprint(one)
    assert fingerprint(one) == fingerprint(one.copy(order="F"))


@pytest.mark.parametrize("shape", [(3, 1_000_000), (40, 3, 300, 300), (1, 3_000_000)])
def test_large_rows_are_sampled_too(shape):
    one = np.random.default_rng(0).random(shape)
    other = one.copy()
    other[-1] += 1
    assert describe(one).sampled
    assert fingerprint(one) != fingerprint(other)


def test_only_the_sample_of_a_large_array_is_copied():
    one = np.zeros((600_000, 8))[:, ::2]
    tracemalloc.start()
    fingerprint(one)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 2**20


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_hashed_whole_is_not_copied_whole(order):
    one = np.zeros((90_000, 20), order=order)
    tracemalloc.start()
    fingerprint(one)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < one.nbytes / 4


def test_a_large_list_and_a_large_frame_are_sampled():
    texts = [f"t{n}" for n in range(50_000)]
    for value in (
        texts,
        np.array(texts, dtype=object),
        pd.DataFrame({"t": texts}),
        pd.Series(texts),
    ):
        assert describe(value).sampled
    assert fingerprint(texts) != fingerprint([*texts[:-1], "last"])
    wide = pd.DataFrame(np.zeros((3, 3000)))
    assert describe(wide).sampled
    assert fingerprint(wide) != fingerprint(wide + 1)


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
    import polars

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
