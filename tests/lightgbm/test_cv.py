"""What is recorded of ``lightgbm.cv``."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest

import autolog
from autolog.sinks.memory import MemorySink
from tests.keys import undocumented
from tests.lightgbm.data import datasets

PARAMS = {"objective": "binary", "verbosity": -1, "num_threads": 1, "metric": ["auc", "binary_logloss"]}


@pytest.mark.parametrize("early", [0, 2])
def test_means_deviations_and_folds(sink: MemorySink, early: int) -> None:
    def program() -> Any:
        params = {**PARAMS, "early_stopping_rounds": early}
        return lightgbm.cv(params, datasets("cancer")[0], 100, nfold=3, eval_train_metric=True)

    bare = program()
    with autolog.enabled("lightgbm", sink=sink, log_code=False):
        found = program()
    assert found == bare
    (run,) = sink.runs
    assert not undocumented(run)
    best = len(found["valid auc-mean"])
    for column, values in found.items():
        name, metric = column.split(" ")
        metric, part = metric.split("-")
        key = f"cv/{'test' if name == 'valid' else name}_{metric}_{'mean' if part == 'mean' else 'std'}"
        told = [row[f"rounds/{key}"] for _, row in run.rows if f"rounds/{key}" in row]
        assert told[:best] == pytest.approx(values)
        assert run.metrics[key] == pytest.approx(values[-1])
    folds = run.tables["cv/folds"]
    assert len(folds) == 3
    assert np.mean([fold["test_auc"] for fold in folds]) == pytest.approx(found["valid auc-mean"][-1])
    assert np.std([fold["train_auc"] for fold in folds]) == pytest.approx(
        found["train auc-stdv"][-1], abs=1e-6
    )
    assert run.config.get("early_stopping/best_iteration") == (best if early else None)
    assert run.config["model/stopped_by"] == ("early stopping" if early else "all rounds were made")
    assert (run.status, run.config["params/nfold"]) == ("finished", 3)


def test_by_a_callback_alone(by_hand: MemorySink) -> None:
    with autolog.run("mine") as run:
        callbacks = [autolog.lightgbm.TrackioCallback(run)]
        lightgbm.cv(PARAMS, datasets("cancer")[0], 2, callbacks=callbacks, return_cvbooster=True)
        lightgbm.cv(PARAMS, datasets("cancer")[0], 2)
    (kept,) = by_hand.runs
    assert len(callbacks) == 1
    assert len(kept.tables["cv/folds"]) == 5
