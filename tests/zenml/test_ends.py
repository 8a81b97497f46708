"""How steps end, and what ZenML shows of them: URLs, retries, caches, materializers, parallel steps."""

import inspect
import threading
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import settings as settings_module
from tests.programs import read
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from sklearn.linear_model import LogisticRegression
from zenml import pipeline, step
from zenml.client import Client
from zenml.config.retry_config import StepRetryConfig
from zenml.materializers.base_materializer import BaseMaterializer

from autolog.zenml import get_trackio_run

X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]


def last_run() -> Any:
    return Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0]


@pytest.fixture
def delivered(trackio_dir: Path) -> Any:
    """Runs go to Trackio, and are read back from there."""
    before = settings_module.in_force()
    settings_module.use(autolog.Settings(log_code=False, system_interval=0))

    def back(project: str) -> list[dict[str, Any]]:
        autolog.finish()
        return read(trackio_dir, project)

    yield back
    settings_module.use(before)


# URLs -------------------------------------------------------------------------------------------------


@step(enable_cache=False)
def first() -> int:
    get_trackio_run().log({"a": 1})
    return 1


@step(enable_cache=False)
def second(number: int) -> None:
    known = Client().get_pipeline_run(last_run().id)
    assert known.steps["second"].run_metadata["experiment_tracker_url"]  # while it is running
    get_trackio_run().log({"b": number})


@pipeline
def two_steps() -> None:
    second(first())


def test_the_urls_open_the_runs(tracker: str, delivered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7999")
    use = {"experiment_tracker": tracker}
    two_steps.with_options(steps={"first": use, "second": use})()
    ran = last_run()
    by_step = {run["config"]["zenml/step"]: run for run in delivered("two_steps")}
    for name in ("first", "second"):
        run, known = by_step[name], ran.steps[name].run_metadata
        assert known["experiment_tracker_url"] == (
            f"http://127.0.0.1:7999/run?project=two_steps&selected_run_id={run['id']}&selected_run={run['name']}"
        )
        assert known["trackio_run_id"] == run["id"]
        assert known["trackio_run_name"] == run["name"]
        assert known["trackio_project"] == "two_steps"
        assert known["trackio_group"] == ran.name
    ids = ",".join(by_step[name]["id"] for name in ("first", "second"))
    assert ran.run_metadata["experiment_tracker_url"] == (
        f"http://127.0.0.1:7999/?project=two_steps&run_ids={ids}"
    )


# Ends that a tracker is not told of -------------------------------------------------------------------


class Broken:
    pass


class BrokenMaterializer(BaseMaterializer):
    ASSOCIATED_TYPES = (Broken,)

    def save(self, data: Any) -> None:
        raise OSError("cannot be stored")

    def load(self, data_type: Any) -> Any:
        raise OSError("cannot be loaded")


class LoadsNever(BrokenMaterializer):
    def save(self, data: Any) -> None:
        pass


@step(enable_cache=False, output_materializers=BrokenMaterializer)
def stores_never() -> Broken:
    get_trackio_run().log({"a": 1})
    return Broken()


@step(enable_cache=False, output_materializers=LoadsNever)
def loads_never() -> Broken:
    return Broken()


@step(enable_cache=False)
def takes(broken: Broken) -> None:
    raise AssertionError("its input could not be loaded")


@pipeline
def storing() -> None:
    stores_never()


@pipeline
def loading() -> None:
    takes(loads_never())


@pytest.mark.parametrize("what", ["stored", "loaded"])
def test_what_cannot_be_stored_or_loaded_is_a_failed_run(
    tracker: str, in_memory: autolog.MemorySink, what: str
) -> None:
    run_it, name = {"stored": (storing, "stores_never"), "loaded": (loading, "takes")}[what]
    with pytest.raises(RuntimeError, match=name):
        run_it.with_options(steps={name: {"experiment_tracker": tracker}})()
    (run,) = in_memory.runs
    assert run.status == "failed"
    assert run.config["error"] == f"OSError: cannot be {what}"
    assert len(run.alerts) == 1
    with pytest.raises(autolog.RunError):  # and it is no longer the current one
        autolog.current_run()


# Attempts, caches -------------------------------------------------------------------------------------

attempts: list[int] = []


@step(enable_cache=False, retry=StepRetryConfig(max_retries=2, delay=0))
def fails_twice() -> None:
    attempts.append(1)
    get_trackio_run().log({"attempt": len(attempts)})
    if len(attempts) < 3:
        raise ValueError("not yet")


@pipeline
def retrying() -> None:
    fails_twice()


def test_a_retry_is_a_run_that_names_its_attempt(tracker: str, in_memory: autolog.MemorySink) -> None:
    attempts.clear()
    said = {"experiment_tracker": tracker, "settings": {"experiment_tracker": {"run_name": "patient"}}}
    retrying.with_options(steps={"fails_twice": said})()
    assert [run.name for run in in_memory.runs] == ["patient", "patient_attempt_2", "patient_attempt_3"]
    assert [run.config["zenml/attempt"] for run in in_memory.runs] == [1, 2, 3]
    assert [run.status for run in in_memory.runs] == ["failed", "failed", "finished"]
    assert [run.metrics["attempt"] for run in in_memory.runs] == [1, 2, 3]


@step(enable_cache=True)
def cached() -> int:
    get_trackio_run().log({"a": 1})
    return 1


@pipeline
def caching() -> None:
    cached()


def test_a_cached_step_keeps_what_is_known_of_its_run(tracker: str, delivered: Any) -> None:
    run_it = caching.with_options(steps={"cached": {"experiment_tracker": tracker}})
    run_it()
    known = last_run().steps["cached"].run_metadata
    run_it()
    again = last_run().steps["cached"]
    assert again.status == "cached"
    assert again.run_metadata["experiment_tracker_url"] == known["experiment_tracker_url"]
    (run,) = delivered("caching")
    assert again.run_metadata["trackio_run_id"] == run["id"]


@step(enable_cache=True)
def cached_beside() -> int:
    get_trackio_run().log({"of another step": 1})  # ZenML knows a step again by its text, in any pipeline
    return 2


@pipeline
def caching_one(number: int) -> None:
    cached_beside()
    if number:
        first()


def test_the_url_of_a_pipeline_run_opens_the_runs_of_cached_steps_too(tracker: str, delivered: Any) -> None:
    use = {"experiment_tracker": tracker}
    caching_one.with_options(steps={"cached_beside": use, "first": use})(1)
    caching_one.with_options(steps={"cached_beside": use, "first": use})(1)
    ran = last_run()
    assert ran.steps["cached_beside"].status == "cached"
    ids = [ran.steps[name].run_metadata["trackio_run_id"] for name in ("cached_beside", "first")]
    assert ran.run_metadata["experiment_tracker_url"].endswith(f"run_ids={','.join(ids)}")
    caching_one.with_options(steps={"cached_beside": use})(0)  # nothing runs at all
    assert last_run().run_metadata["experiment_tracker_url"].endswith(f"run_ids={ids[0]}")


# Steps at the same time ---------------------------------------------------------------------------------

together = threading.Barrier(2, timeout=60)


@step(enable_cache=False)
def trains_beside(c: float) -> None:
    autolog.enable()
    together.wait()  # both are running
    LogisticRegression(C=c).fit(X, y)
    together.wait()
    autolog.current_run().log({"c": c})
    together.wait()


HAS_DYNAMIC = "dynamic" in inspect.signature(pipeline).parameters


@pipeline(**({"dynamic": True} if HAS_DYNAMIC else {}))
def beside(tracker: str) -> None:
    use = trains_beside.with_options(experiment_tracker=tracker or None)
    futures = [use.submit(c=0.5), use.submit(c=2.0)]
    for future in futures:
        future.wait()


@pytest.mark.skipif(not HAS_DYNAMIC, reason="this ZenML has no dynamic pipelines, so no steps in threads")
@pytest.mark.parametrize("tracked", [True, False])
def test_steps_at_the_same_time_do_not_mix(
    make_stack: MakeStack, client: Any, in_memory: autolog.MemorySink, tracked: bool
) -> None:
    make_stack()
    beside(tracker=client.active_stack.experiment_tracker.name if tracked else "")
    by_c = {run.config["params/C"]: run for run in in_memory.runs}
    assert sorted(by_c) == [0.5, 2.0]
    for c, run in by_c.items():
        assert run.values("c") == [c]
        assert run.status == "finished"
        assert run.config["zenml/step"].startswith("trains_beside")
    first, other = in_memory.runs
    assert first.name != other.name


# Trackio's own functions in a step ----------------------------------------------------------------------


@step(enable_cache=False)
def uses_trackio() -> None:
    import trackio

    rows = trackio.Table(data=[[1]], columns=["x"])
    trackio.log({"a": 1, "rows": rows, "text": "a text", "nothing of Trackio's": object()})
    trackio.alert("odd", level=trackio.AlertLevel.INFO)
    trackio.finish()
    autolog.current_run().log({"b": 2})


@step(enable_cache=False)
def opens_its_own() -> None:
    import trackio

    trackio.init(project="its-own", embed=False)
    trackio.log({"c": 3})
    trackio.finish()
    get_trackio_run().log({"d": 4})


@pipeline
def by_trackio() -> None:
    uses_trackio()
    opens_its_own(after="uses_trackio")


def test_trackios_own_functions_write_to_the_steps_run(tracker: str, delivered: Any) -> None:
    use = {"experiment_tracker": tracker}
    by_trackio.with_options(steps={"uses_trackio": use, "opens_its_own": use})()
    by_step = {run["config"]["zenml/step"]: run for run in delivered("by_trackio")}
    run, other = by_step["uses_trackio"], by_step["opens_its_own"]
    assert [row["a"] for row in run["logs"] if "a" in row] == [1]
    assert [row["b"] for row in run["logs"] if "b" in row] == [2]
    assert "rows" in {key for row in run["logs"] for key in row}
    assert run["alerts"][0]["title"] == "odd"
    assert [row["text"] for row in run["logs"] if "text" in row] == ["a text"]
    assert list(run["config"]["autolog/notes"]) == ["nothing of Trackio's"]
    assert [row["d"] for row in other["logs"] if "d" in row] == [4]
    assert {run["config"]["status"], other["config"]["status"]} == {"finished"}
    (its_own,) = delivered("its-own")
    assert [row["c"] for row in its_own["logs"] if "c" in row] == [3]


@step(enable_cache=False)
def trains_by_transformers(folder: str) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=10,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            max_position_embeddings=8,
        )
    )
    rows = [{"input_ids": torch.tensor([1, 2, 3]), "labels": torch.tensor(n % 2)} for n in range(4)]
    arguments = TrainingArguments(
        folder,
        report_to="trackio",
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        project="of-transformers",
        trackio_space_id=None,  # transformers 5.0 names one by default
    )
    Trainer(model, arguments, train_dataset=rows).train()
    get_trackio_run().log({"after": 1})


def test_transformers_own_callback_leaves_the_step_and_its_run_whole(
    tracker: str, delivered: Any, tmp_path: Path
) -> None:
    @pipeline
    def of_transformers() -> None:
        trains_by_transformers.with_options(experiment_tracker=tracker)(str(tmp_path))

    of_transformers()
    assert last_run().status == "completed"
    (run,) = delivered("of_transformers")
    assert run["config"]["status"] == "finished"
    assert [row["after"] for row in run["logs"] if "after" in row] == [1]
    (its_own,) = delivered("of-transformers")
    assert any("train/loss" in row for row in its_own["logs"])
