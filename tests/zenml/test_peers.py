"""Steps that MLflow or W&B tracks, by ZenML's own flavors: our runs beside theirs, and theirs untouched."""

from __future__ import annotations

import inspect
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import read
from tests.zenml.conftest import python

for needed, package in (("zenml", "trackio-autolog[zenml]"), ("mlflow", "mlflow"), ("wandb", "wandb")):
    pytest.importorskip(needed, reason=f"it is not installed: pip install '{package}'")

PROGRAM = """
import json
import sys
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from zenml import pipeline, step
from zenml.client import Client
from zenml.enums import StackComponentType as Kind

import autolog


def train():
    LogisticRegression(C=0.5).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])


@step(enable_cache=False)
def by_mlflow() -> None:
    import mlflow

    mlflow.sklearn.autolog(log_models=False)
    mlflow.log_metric("by/hand", 1)
    train()


@step(enable_cache=False)
def by_wandb() -> None:
    import wandb

    wandb.log({"by/hand": 1})
    train()


@pipeline
def tracked(peer: str) -> None:
    {"mlflow": by_mlflow, "wandb": by_wandb}[peer].with_options(experiment_tracker=peer)()


def what_zenml_knows(peer):
    tracked(peer)
    ran = client.list_pipeline_runs(sort_by="desc:created", size=1).items[0]
    known = {name: str(value) for name, value in ran.steps[f"by_{peer}"].run_metadata.items()}
    return {"run": ran.name, "status": ran.status, "known": known}


if __name__ == "__main__":
    peer, client = sys.argv[1], Client()
    tracker = client.create_stack_component(peer, peer, Kind.EXPERIMENT_TRACKER, json.loads(sys.argv[2]))
    parts = {Kind.ORCHESTRATOR: "default", Kind.ARTIFACT_STORE: "default"}
    stack = client.create_stack(peer, {**parts, Kind.EXPERIMENT_TRACKER: tracker.id})
    client.activate_stack(stack.id)
    bare = what_zenml_knows(peer)
    autolog.enable("sklearn", "zenml", log_code=False)
    Path(sys.argv[3]).write_text(json.dumps([bare, what_zenml_knows(peer)]))
"""


@pytest.fixture
def beside(tmp_path: Path) -> Any:
    """Run the pipeline under a peer's tracker, bare and recorded: what ZenML knows of both, and our runs."""

    def run(peer: str, **configuration: str) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        told = (peer, json.dumps(configuration), str(tmp_path / "found"))
        variables = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "MLFLOW_TRACKING_URI": ""}
        python(PROGRAM, *told, trackio=tmp_path, **variables)
        bare, found = json.loads((tmp_path / "found").read_text())
        assert bare["status"] == found["status"] == "completed"
        return bare, found, read(tmp_path, "tracked")

    return run


def assert_recorded_beside(bare: dict[str, Any], found: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    (run,) = runs  # none of the bare one
    config, known = run["config"], found["known"]
    assert config["status"] == "finished"
    assert config["params/C"] == 0.5
    assert run["name"].startswith(found["run"])
    assert run["id"] in known["trackio_run_url"]
    assert known["trackio_run_id"] == run["id"]
    assert known["experiment_tracker_url"] == bare["known"]["experiment_tracker_url"]
    assert set(known) - set(bare["known"]) == {
        "trackio_run_id",
        "trackio_run_name",
        "trackio_run_url",
        "trackio_project",
        "trackio_group",
    }


@pytest.mark.long
def test_beside_mlflow(beside: Any, tmp_path: Path) -> None:
    bare, found, runs = beside("mlflow", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert_recorded_beside(bare, found, runs)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(found["known"]["experiment_tracker_url"])
    first, second = (client.get_run(one["known"]["mlflow_run_id"]) for one in (bare, found))
    assert second.info.status == "FINISHED"
    assert second.data.metrics["by/hand"] == 1
    assert second.data.params["C"] == "0.5"
    assert second.data.metrics == first.data.metrics
    assert second.data.params == first.data.params


def records(file: Path) -> Iterator[Any]:
    """What W&B has written to a run's file: protobuf records in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (rest := 32768 - at % 32768) < 7:  # no header begins at the very end of a block
            at += rest
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole one, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


@pytest.mark.long
def test_beside_wandb(beside: Any, tmp_path: Path) -> None:
    from zenml.integrations.wandb.experiment_trackers import WandbExperimentTracker

    if inspect.getsource(WandbExperimentTracker).count("import weave") > 1:  # if asked for, and if not
        pytest.importorskip("weave", reason="this ZenML's W&B flavor needs weave: pip install weave")
    bare, found, runs = beside("wandb", api_key="a" * 40, entity="acme", project_name="churn")
    assert_recorded_beside(bare, found, runs)
    for one in (bare, found):
        (file,) = tmp_path.rglob(f"run-{one['known']['wandb_run_id']}.wandb")
        theirs = list(records(file))
        rows = [record.history for record in theirs if record.WhichOneof("record_type") == "history"]
        logged = [{item.nested_key[0]: json.loads(item.value_json) for item in row.item} for row in rows]
        assert [{k: v for k, v in row.items() if not k.startswith("_")} for row in logged] == [{"by/hand": 1}]
        (end,) = [record.exit for record in theirs if record.WhichOneof("record_type") == "exit"]
        assert end.exit_code == 0
