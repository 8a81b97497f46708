"""Trainings on Dask's workers, by XGBoost and LightGBM: rounds and models are here, the data are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array
import lightgbm
import pytest
import xgboost.dask
from distributed import Client, LocalCluster

import autolog
from autolog.sinks.memory import MemorySink
from tests import programs
from tests.xgboost.data import SETS

BINARY = {"objective": "binary:logistic"}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster whose workers are threads of this process: what they train must not be recorded as well."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            worker_dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def lazy(name: str, place: int = 0) -> tuple[Any, Any]:
    X, y = SETS[name][place]
    return dask.array.from_array(X, chunks=(100, X.shape[1])), dask.array.from_array(y, chunks=(100,))


def train(client: Client, **more: Any) -> dict[str, Any]:
    dtrain = xgboost.dask.DaskDMatrix(client, *lazy("cancer"))
    dval = xgboost.dask.DaskDMatrix(client, *lazy("cancer", 1))
    evals = [(dtrain, "train"), (dval, "val")]
    found: dict[str, Any] = xgboost.dask.train(
        client, BINARY, dtrain, evals=evals, verbose_eval=False, **more
    )
    return found


def test_a_training_by_workers_is_a_run(client: Client, sink: MemorySink) -> None:
    bare = train(client, num_boost_round=5)
    with autolog.enabled("sklearn", "xgboost", sink=sink, log_code=False):
        found = train(client, num_boost_round=5)
    autolog.finish()
    assert found["history"] == bare["history"]
    assert found["booster"].get_dump() == bare["booster"].get_dump()
    [run] = sink.runs
    assert run.config["framework"] == "xgboost"
    assert run.config["params"]["objective"] == "binary:logistic"
    assert run.config["model/trees"] == 5
    rounds = {step: row["rounds/val/logloss"] for step, row in run.rows if "rounds/val/logloss" in row}
    assert list(rounds) == [1, 2, 3, 4, 5]
    assert list(rounds.values()) == pytest.approx(found["history"]["val"]["logloss"])
    assert run.metrics["train/logloss"] == pytest.approx(found["history"]["train"]["logloss"][-1])
    assert "workers" in run.config["autolog/notes"]["data/train"]
    assert "model.ubj" in {name for artifact in run.artifacts for name in artifact["files"]}


def test_early_stopping_and_a_native_callback(client: Client, sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        callback = autolog.xgboost.TrackioCallback()
        found = train(client, num_boost_round=200, early_stopping_rounds=3, callbacks=[callback])
    autolog.finish()
    [recorded] = sink.runs
    best = int(found["booster"].attr("best_iteration")) + 1
    assert recorded.config["early_stopping/best_iteration"] == best
    assert recorded.config["model/stopped_by"] == "early stopping"


@pytest.mark.parametrize("form", ["booster", "file"])
def test_its_rounds_are_counted_without_evaluation_sets(
    client: Client, sink: MemorySink, form: str, tmp_path: Path
) -> None:
    dtrain = xgboost.dask.DaskDMatrix(client, *lazy("cancer"))
    with autolog.enabled("xgboost", sink=sink, log_code=False):
        first = xgboost.dask.train(client, BINARY, dtrain, num_boost_round=3)["booster"]
        first.save_model(tmp_path / "model.ubj")
        before = first if form == "booster" else tmp_path / "model.ubj"
        xgboost.dask.train(client, BINARY, dtrain, num_boost_round=2, xgb_model=before)
    autolog.finish()
    assert [run.config["model/trees"] for run in sink.runs] == [3, 5]
    assert {run.config["model/stopped_by"] for run in sink.runs} == {"all rounds were made"}


def test_an_asynchronous_fit_has_no_model_yet(tmp_path: Path) -> None:
    # In a process of its own: a cluster in a loop that is over keeps the end of another one waiting.
    said = programs.run(tmp_path, ASYNCHRONOUS)
    assert "rounds 2" in said
    assert "artifacts 0" in said
    assert "seconds False" in said
    assert "waited for by you" in said


ASYNCHRONOUS = """
import asyncio
import dask.array, xgboost.dask
from distributed import Client, LocalCluster
from sklearn.datasets import load_breast_cancer

sink = autolog.MemorySink()
autolog.enable("sklearn", "xgboost", sink=sink, log_code=False)
X, y = (dask.array.from_array(values, chunks=200) for values in load_breast_cancer(return_X_y=True))

async def program():
    quiet = {"dashboard_address": None, "worker_dashboard_address": None}
    async with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, asynchronous=True, **quiet
    ) as cluster, Client(cluster, asynchronous=True) as client:
        model = xgboost.dask.DaskXGBClassifier(n_estimators=2)
        model.client = client
        await model.fit(X.rechunk((200, -1)), y)
        return model.get_booster().num_boosted_rounds()

print("rounds", asyncio.run(program()))
autolog.finish()
[found] = sink.runs
print("artifacts", len(found.artifacts), "seconds", "vitals/fit_seconds" in found.metrics)
print(found.config["autolog/notes"]["model"])
"""


def test_the_estimators_are_runs_and_their_workers_shares_are_none(client: Client, sink: MemorySink) -> None:
    with autolog.enabled("sklearn", "xgboost", "lightgbm", sink=sink, log_code=False):
        by_xgboost = xgboost.dask.DaskXGBClassifier(n_estimators=3)
        by_xgboost.client = client
        by_xgboost.fit(*lazy("cancer"))
        lightgbm.DaskLGBMClassifier(n_estimators=3, client=client, verbosity=-1).fit(*lazy("cancer"))
    autolog.finish()
    assert [run.config["model"] for run in sink.runs] == ["DaskXGBClassifier", "DaskLGBMClassifier"]
    assert [run.config["model/trees"] for run in sink.runs] == [3, 3]
    assert all("is computed only" in run.config["autolog/notes"]["data/train"] for run in sink.runs)


def test_what_fails_on_a_worker_is_a_failed_run(client: Client, sink: MemorySink) -> None:
    with autolog.enabled("xgboost", sink=sink, log_code=False), pytest.raises(Exception, match="objective"):
        xgboost.dask.train(
            client, {"objective": "no_such"}, xgboost.dask.DaskDMatrix(client, *lazy("cancer"))
        )
    autolog.finish()
    [run] = sink.runs
    assert run.status == "failed"
