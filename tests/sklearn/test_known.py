"""Training rows are known again however they were picked, and what cannot be known is not called val."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.tree import DecisionTreeClassifier

import autolog
from autolog import MemorySink
from autolog.capture import datasets, rows
from autolog.sklearn import known
from tests.sklearn.data import only

values, labels = make_classification(600, 5, flip_y=0.3, random_state=0)
frame, target = pd.DataFrame(values, columns=list("abcde")), pd.Series(labels)
a, b, c, d = frame[:400], frame[400:], target[:400], target[400:]
some = np.random.default_rng(0).permutation(400)[:200]


def tree(X: Any = a, y: Any = c) -> Any:
    return DecisionTreeClassifier(random_state=0).fit(X, y)


def recorded(run: Any) -> set[str]:
    """The sets that accuracies stand under, without that of the fit itself."""
    return {key.removesuffix("/accuracy") for key in run.metrics if key.endswith("/accuracy")} - {"train"}


def scored(model: Any, X: Any, y: Any) -> float:
    return float(model.score(X, y))


PART = {
    "sample": (a.sample(200, random_state=0), c.sample(200, random_state=0)),
    "head": (a.head(200), c.head(200)),
    "every other": (a[::2], c[::2]),
    "by index": (a.iloc[some], c.iloc[some]),
    "to_numpy": (a.iloc[some].to_numpy(), c.iloc[some]),
    "lists": (a.iloc[some].to_numpy().tolist(), c.iloc[some].tolist()),
    "float32": (a.iloc[some].astype("float32"), c.iloc[some]),
    "float32 array": (a.to_numpy(np.float32)[some], c.iloc[some]),
    "polars": (polars.DataFrame(a.iloc[some]), polars.Series(c.iloc[some])),
    "sparse": (sparse.csr_matrix(a.iloc[some].to_numpy()), c.iloc[some]),
    "three rows": (a.iloc[[7, 3, 200]], c.iloc[[7, 3, 200]]),
    "another target": (a.iloc[some], 1 - c.iloc[some]),
}
WHOLE = {
    "itself": (a, c),
    "to_numpy": (a.to_numpy(), c),
    "float32": (a.astype("float32"), c),
    "shuffled": (a.iloc[np.random.default_rng(0).permutation(400)], c),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("picked", PART.values(), ids=PART)
@pytest.mark.parametrize("fitted", [a, a.to_numpy(), polars.DataFrame(a)], ids=["frame", "array", "polars"])
def test_training_rows_are_known_however_they_were_picked(
    recording: MemorySink, fitted: Any, picked: Any
) -> None:
    model = tree(fitted)
    expected = scored(model, *picked)
    held_out = scored(model, b, d)
    run = only(recording)
    assert run.metrics["train/part/accuracy"] == pytest.approx(expected)
    assert run.metrics["val/accuracy"] == pytest.approx(held_out)
    assert recorded(run) == {"train/part", "val"}
    assert "also occur" not in str(run.config["autolog/notes"])


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("form", WHOLE.values(), ids=WHOLE)
def test_all_of_the_training_data_is_known_in_any_form_and_order(recording: MemorySink, form: Any) -> None:
    model = tree()
    scored(model, *form)
    scored(model, b, d)
    run = only(recording)
    assert recorded(run) == {"val"}
    assert "train/confusion_matrix" in run.charts


def test_what_was_learned_in_float32_is_known_in_float64(recording: MemorySink) -> None:
    model = tree(a.to_numpy(np.float32))
    scored(model, a.iloc[some].to_numpy(), c.iloc[some])
    scored(model, b.to_numpy(), d)
    assert recorded(only(recording)) == {"train/part", "val"}


def test_float32_of_training_data_that_is_gone_cannot_be_known(recording: MemorySink) -> None:
    model = tree(a.to_numpy(copy=True))
    gc.collect()
    scored(model, b.to_numpy(np.float32), d)
    run = only(recording)
    assert recorded(run) == {"eval"}
    assert "another precision" in run.config["autolog/notes"]["eval"]


def test_an_array_that_was_changed_in_place_is_what_it_is_now(recording: MemorySink) -> None:
    X = a.to_numpy(copy=True)
    model = tree(X)
    X[:] = values[200:]
    scored(model, X[200:], d)
    assert recorded(only(recording)) == {"val"}


def test_a_leak_is_noted_and_the_set_held_out_all_the_same(recording: MemorySink) -> None:
    X, y = pd.concat([b[:190], a[:10]]), pd.concat([d[:190], c[:10]])
    expected = scored(tree(), X, y)
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(expected)
    assert recorded(run) == {"val"}
    assert "10 of 200 rows" in run.config["autolog/notes"]["val"]


@pytest.mark.parametrize("count", [400, 100])
def test_a_set_that_is_held_out_in_part_is_neither(recording: MemorySink, count: int) -> None:
    X, y = pd.concat([a[:count], b]), pd.concat([c[:count], d])  # train and test together; a third of it
    model = tree()
    expected = scored(model, X, y)
    scored(model, X[::-1], y[::-1])
    held_out = scored(model, b, d)
    run = only(recording)
    assert run.metrics["eval/accuracy"] == pytest.approx(expected)
    assert run.metrics["val/accuracy"] == pytest.approx(held_out)
    assert recorded(run) == {"eval", "eval/set-2", "val"}
    said = run.config["autolog/notes"]["eval"]
    assert f"{count} of {count + 200} rows" in said
    assert "cannot be known" in said


def test_where_rows_repeat_a_set_of_nothing_else_cannot_be_known(recording: MemorySink) -> None:
    few = np.random.default_rng(0).integers(0, 2, (600, 3))  # eight distinct rows
    model = tree(few[:400])
    scored(model, few[400:], d)
    scored(model, few[:400:2], c[::2])
    scored(model, few[:400], c)
    run = only(recording)
    assert recorded(run) == {"eval", "eval/set-2"}
    assert "100% have an equal one" in run.config["autolog/notes"]["eval"]
    assert "train/confusion_matrix" in run.charts, "the same rows in the same order, with the same target"


def test_where_some_rows_repeat_a_held_out_set_repeats_them_too(recording: MemorySink) -> None:
    often = np.where(np.random.default_rng(0).random((600, 1)) < 0.4, 0.0, values)  # rows of zeros
    model = tree(often[:400])
    scored(model, often[400:], d)
    scored(model, often[:400:2], c[::2])
    assert recorded(only(recording)) == {"val", "train/part"}


@pytest.mark.parametrize(("count", "name"), [(1, "train/part"), (2, "train/part"), (5, "train/part")])
def test_a_few_rows_are_known_as_well(recording: MemorySink, count: int, name: str) -> None:
    model = tree()
    model.predict(a[:count])
    scored(model, a[:count], c[:count])
    scored(model, b[:7], d[:7])
    found = recorded(only(recording))
    assert found - {name} == {"val"}, "a single row is served, not evaluated"
    assert (name in found) == (count > 1)


def test_one_set_in_two_forms_is_one_set(recording: MemorySink) -> None:
    model = tree(a.to_numpy())
    scored(model, b.to_numpy(), d)
    scored(model, b.to_numpy().tolist(), d.tolist())
    scored(model, polars.DataFrame(b), polars.Series(d))
    run = only(recording)
    assert recorded(run) == {"val"}
    assert len(run.values("val/accuracy")) == 1


def batches() -> Iterator[tuple[Any, Any]]:
    for start in range(0, 400, 50):
        yield values[start : start + 50], labels[start : start + 50]


@pytest.mark.parametrize("epochs", [1, 3])
def test_rows_of_all_batches_are_known(recording: MemorySink, epochs: int) -> None:
    model = SGDClassifier(random_state=0)
    for _ in range(epochs):
        for X, y in batches():
            model.partial_fit(X, y, classes=[0, 1])
    scored(model, a.iloc[some].to_numpy(), c.iloc[some])
    scored(model, b.to_numpy(), d)
    scored(model, a.to_numpy()[::-1], c[::-1])
    assert recorded(only(recording)) == {"train/part", "val"}


def test_rows_of_a_warm_start_are_known(recording: MemorySink) -> None:
    model = RandomForestClassifier(3, warm_start=True, random_state=0)
    for trees in (3, 6, 9):
        model.set_params(n_estimators=trees).fit(a, c)
    scored(model, a[::2], c[::2])
    scored(model, b, d)
    assert recorded(only(recording)) == {"train/part", "val"}


@pytest.mark.parametrize("part", ["train/part", "val", "eval"])
def test_an_evaluation_set_of_the_fit_is_called_what_it_is(recording: MemorySink, part: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    X, y = {"train/part": (a[::2], c[::2]), "val": (b, d), "eval": (a[::2], c[::2])}[part]
    if part == "eval":
        X, y = pd.concat([X, b]), pd.concat([y, d])
    model = xgboost.XGBClassifier(n_estimators=3).fit(a, c, eval_set=[(a, c), (X, y)], verbose=False)
    scored(model, b.to_numpy(), d)
    run = only(recording)
    rounds = [key.removeprefix("rounds/") for key in run.metrics if key.startswith("rounds/")]
    assert {key.removesuffix("/logloss") for key in rounds} == {"train", part}
    assert recorded(run) == ({"val"} if part != "eval" else {"test"})


def test_training_data_is_read_once_for_all(recording: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    whole = rows.read

    def counted(value: Any, **how: Any) -> Any:
        seen.append(value.shape)
        return whole(value, **how)

    monkeypatch.setattr(known, "_marks", ())  # another test may have had the same truth
    monkeypatch.setattr("autolog.capture.rows.read", counted)
    monkeypatch.setattr("autolog.sklearn.known.read_rows", counted)
    model = tree()
    assert sorted(seen) == [(400,), (400, 5)]
    scored(model, a[::2], c[::2])
    assert sorted(seen) == [(200,), (200, 5), (400,), (400, 5)]


@pytest.mark.parametrize("how", ["auto", "full"])
def test_a_fingerprint_is_of_all_the_data_where_that_is_asked_for(
    sink: MemorySink, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "NUMBERS", 4_000)
    with autolog.enabled("sklearn", sink=sink, log_code=False, fingerprint=how):
        model = tree(a.to_numpy(), c.to_numpy())
        scored(model, a, c)
        scored(model, b, d)
    run = only(sink)
    assert run.config["data/train"]["sampled"] is (how == "auto")
    expected = datasets.fingerprint(a.to_numpy(), c.to_numpy(), full=how == "full")
    assert run.config["data/train"]["fingerprint"] == expected
    assert recorded(run) == {"val"}
