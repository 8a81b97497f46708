"""SHAP values and partial dependence in one form, as tables and charts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from autolog.capture.encoded import EncodedTable
from autolog.capture.explanations import Dependence, contributions_of, dependence_rows

VALUES = np.random.default_rng(0).normal(size=(20, 3, 4))


def test_all_forms_of_values_are_one() -> None:
    whole = contributions_of(VALUES, None, None)
    listed = contributions_of([VALUES[:, :, k] for k in range(4)], None, None)
    assert whole is not None
    assert listed is not None
    assert whole.rows() == listed.rows()
    assert list(whole.rows()[0]) == ["feature", "mean_abs_shap", *(f"mean_abs_shap_{k}" for k in range(4))]


def test_what_speaks_for_one_of_two_classes_is_said_once() -> None:
    one = VALUES[:, :, 0]
    found = contributions_of(np.stack([-one, one], axis=-1), ["a", "b", "c"], ["no", "yes"])
    assert found is not None
    assert np.array_equal(found.values, one)
    assert list(found.outputs) == ["yes"]


@pytest.mark.parametrize(
    "values", [np.zeros(3), np.zeros((2, 0)), np.full((2, 3), "text"), np.zeros((1, 2, 3, 4))]
)
def test_what_is_no_table_is_none(values: object) -> None:
    assert contributions_of(values, None, None) is None


def test_names_and_data_of_another_shape_are_not_taken() -> None:
    found = contributions_of(VALUES[:, :, 0], ["a"], None, np.zeros((3, 3)))
    assert found is not None
    assert list(found.features) == ["x0", "x1", "x2"]
    assert found.data is None


def test_values_of_one_size_have_one_height() -> None:
    data = np.array([[1.0], [1.0], [np.nan], [7.0]])
    chart = contributions_of(np.ones((4, 1)), ["a"], None, data).chart(with_rows=True)  # type: ignore[union-attr]
    assert chart.data["heights"] == [[0.0, 0.0, None, 1.0]]


def test_rows_of_two_features() -> None:
    grid = (np.array([1.0, 2.0]), np.array(["low", "high"], dtype=object))
    rows = dependence_rows([Dependence(("a", "b"), grid, np.array([[[0.0, 1.0], [2.0, 3.0]]]))])
    assert rows[1] == {
        "feature": "a",
        "value": 1.0,
        "second_feature": "b",
        "second_value": "high",
        "mean_prediction": 1.0,
    }
    assert [row["mean_prediction"] for row in rows] == [0, 1, 2, 3]


PEOPLE = pd.DataFrame(
    {
        "age": [30, 40, 50],
        "town": ["north", None, "south"],
        "kind": pd.Categorical(["b", "a", "b"]),
        "income": [1.5, np.nan, 2.5],
        "member": [True, False, True],
    }
)


def test_a_frame_is_the_same_after_it_was_numbers() -> None:
    table = EncodedTable(PEOPLE)
    pd.testing.assert_frame_equal(table.decoded(table.encoded), PEOPLE)
    assert [table.is_whole(n) for n in range(5)] == [True, False, False, False, True]
    assert table.values_of(0) is None
    assert [value for _, value in table.values_of(1) or []] == ["north", "south"]


def test_so_is_one_of_which_two_columns_have_one_name() -> None:
    twice = pd.concat([PEOPLE[["age"]], PEOPLE[["town"]].rename(columns={"town": "age"})], axis=1)
    table = EncodedTable(twice)
    pd.testing.assert_frame_equal(table.decoded(table.encoded), twice)


def test_so_are_others() -> None:
    frame = pl.from_pandas(PEOPLE.drop(columns="kind")).with_columns(pl.Series("many", [1, None, 3]))
    table = EncodedTable(frame)
    assert table.decoded(table.encoded).equals(frame)
    mixed = np.array([[1, "a"], [2, None]], dtype=object)
    table = EncodedTable(mixed)
    assert table.decoded(table.encoded).tolist() == [[1.0, "a"], [2.0, None]]
    lists = pd.DataFrame({"a": [[1], [2], [1]], "b": pd.array([1, pd.NA, 3], dtype="Int64")})
    table = EncodedTable(lists)
    pd.testing.assert_frame_equal(table.decoded(table.encoded), lists)
