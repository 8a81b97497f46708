"""What is recorded of ``xgboost.cv``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost

import autolog
from autolog.sinks.memory import MemorySink
from tests.keys import undocumented
from tests.xgboost.data import matrices

PARAMS = {"objective": "binary:logistic", "nthread": 1}


@pytest.mark.parametrize("early", [None, 2])
def test_means_deviations_and_folds(sink: MemorySink, early: int | None) -> None:
    def program() -> Any:
        return xgboost.cv(
            PARAMS,
            matrices("cancer")[0],
            100,
            nfold=3,
            metrics=["auc", "logloss"],
            early_stopping_rounds=early,
        )

    bare = program()
    with autolog.enabled("xgboost", sink=sink, log_code=False):
        found = program()
    assert found.equals(bare)
    (run,) = sink.runs
    assert not undocumented(run)
    best = len(found)
    for column in found.columns:
        key = f"cv/{column.replace('-', '_')}"
        told = [row[f"rounds/{key}"] for _, row in run.rows if f"rounds/{key}" in row]
        assert told[:best] == pytest.approx(list(found[column]))
        assert run.metrics[key] == pytest.approx(found[column].iloc[-1])
    folds = run.tables["cv/folds"]
    assert len(folds) == 3
    assert np.mean([fold["test_auc"] for fold in folds]) == pytest.approx(found["test-auc-mean"].iloc[-1])
    assert np.std([fold["train_logloss"] for fold in folds]) == pytest.approx(
        found["train-logloss-std"].iloc[-1], abs=1e-6
    )
    assert run.config.get("early_stopping/best_iteration") == (best if early else None)
    assert run.config["model/stopped_by"] == ("early stopping" if early else "all rounds were made")
    assert (run.status, run.config["params/nfold"]) == ("finished", 3)


class Inner(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """A user's callback that cross-validates as well, by more folds and another metric."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        xgboost.cv(PARAMS, matrices("cancer")[0], 2, nfold=4, metrics="error")
        return False


def test_a_cross_validation_inside_of_it_is_no_fold_of_it(sink: MemorySink) -> None:
    with autolog.enabled("xgboost", sink=sink, log_code=False):
        found = xgboost.cv(PARAMS, matrices("cancer")[0], 3, nfold=2, metrics="auc", callbacks=[Inner()])
    (run,) = sink.runs
    folds = run.tables["cv/folds"]
    assert [set(fold) for fold in folds] == [{"fold", "test_auc", "train_auc"}] * 2
    assert np.mean([fold["test_auc"] for fold in folds]) == pytest.approx(found["test-auc-mean"].iloc[-1])


def test_by_a_callback_alone(by_hand: MemorySink) -> None:
    with autolog.run("mine") as run:
        callbacks = [autolog.xgboost.TrackioCallback(run)]
        xgboost.cv(PARAMS, matrices("cancer")[0], 2, callbacks=callbacks)
        xgboost.cv(PARAMS, matrices("cancer")[0], 2)
    (kept,) = by_hand.runs
    assert len(callbacks) == 1
    assert len(kept.tables["cv/folds"]) == 3
