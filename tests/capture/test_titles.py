"""What a run is called: what tells it from others, within the letters of a chart's label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolog.capture.titles import LETTERS, short_class, title
from autolog.sinks.trackio.names import plain_run_name


class Hostile(str):
    """One that does not let itself be printed."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("HistGradientBoostingClassifier", "HistGB"),
        ("LogisticRegression", "LogReg"),
        ("RandomForestRegressor", "Forest"),
        ("SVC", "SVC"),
        ("BertForSequenceClassification", "Bert"),
        ("GPT2LMHeadModel", "GPT2"),
        ("Classifier", "Classifier"),
        ("Net", "Net"),
    ],
)
def test_a_class_is_called_what_people_call_it(name: str, short: str) -> None:
    assert short_class(name) == short


@pytest.mark.parametrize(
    ("was_set", "expected"),
    [
        ({}, "Net"),
        ({"lr": 0.003}, "Net lr=.003"),
        ({"learning_rate": 1e-05, "batch_size": 8}, "Net batch=8 lr=1e-05"),
        ({"clf__max_depth": 5}, "Net depth=5"),
        ({"optimizer/momentum": -0.5}, "Net momentum=-.5"),
        ({"optimizer/lr/0": 0.1, "lr/1": 0.2}, "Net lr/0=.1 lr/1=.2"),
        ({"random_state": 1, "n_jobs": 2, "verbose": 3}, "Net"),
        ({"kernel": "rbf", "path": "/a/very/long/path"}, "Net kernel=rbf"),
        ({"a": None, "b": [1], "c": object()}, "Net"),
        ({"fit": True}, "Net fit=True"),
        ({"api_key": "abc"}, "Net"),
        ({"max_depth": np.int64(5)}, "Net depth=5"),
        ({"alpha": np.float32(0.1)}, "Net alpha=.1"),
        ({"shuffle": np.bool_(False)}, "Net shuffle=False"),
        ({"C": np.array([1.0])}, "Net"),
        ({"n": 10**5000}, "Net"),
        ({"name": Hostile("x")}, "Net name=x"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "Net a=1 b=2 c=3 d=4"),
    ],
)
def test_the_shortest_of_what_was_set_comes_first(was_set: dict[str, Any], expected: str) -> None:
    assert title("Net", was_set) == expected


@given(st.dictionaries(st.text(), st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none())))
def test_it_is_never_longer_than_a_label(was_set: dict[str, Any]) -> None:
    found = title("Net", was_set)
    assert found.startswith("Net")
    assert len(found) <= LETTERS


def test_a_long_name_leaves_room_for_what_tells_two_runs_apart() -> None:
    names = {plain_run_name(f"{title('😀' * 500, {'a': 1})} ·{number}") for number in (1234, 5678)}
    assert len(names) == 2
