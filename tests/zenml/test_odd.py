"""What users do in steps that nobody thought of: odd names, threads, settings twice, autolog turned off."""

import threading
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import settings as settings_module
from tests.programs import read, values
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from sklearn.linear_model import LogisticRegression, Ridge
from zenml import pipeline, step
from zenml.client import Client

from autolog.zenml import get_trackio_run

X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]


def last_run() -> Any:
    return Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0]


@step(enable_cache=False)
def logs() -> None:
    import trackio

    trackio.log({"by/trackio": 1})
    get_trackio_run().log({"by/hand": 2})


@pipeline
def logging() -> None:
    logs()


def test_turned_off_by_the_environment_a_step_runs_and_nothing_is_recorded(
    tracker: str, in_memory: autolog.MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOLOG_DISABLE", "1")
    logging.with_options(steps={"logs": {"experiment_tracker": tracker}})()
    assert last_run().status == "completed"
    assert in_memory.records == []
    assert "trackio_run_id" not in last_run().steps["logs"].run_metadata


def test_disable_turns_off_what_is_watched_and_not_the_tracker(
    tracker: str, sink: autolog.MemorySink
) -> None:
    tracked = logging.with_options(steps={"logs": {"experiment_tracker": tracker}})
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0))
    tracked()
    autolog.disable()
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0))
    tracked()
    settings_module.use(None)
    assert [run.status for run in sink.runs] == ["finished", "finished"]
    assert [run.metrics for run in sink.runs] == [{"by/trackio": 1, "by/hand": 2}] * 2


@pytest.mark.parametrize("name", ["größe 北京", "a/b/../c", "x" * 200, ".", "50% & more?"])
def test_odd_names_of_runs_and_tags(tracker: str, trackio_dir: Path, name: str) -> None:
    before = settings_module.in_force()
    settings_module.use(autolog.Settings(log_code=False, system_interval=0, finish_timeout=60.0))
    said = {"run_name": name, "tags": [name], "metadata": {name: name}}
    logging.with_options(
        steps={"logs": {"experiment_tracker": tracker, "settings": {"experiment_tracker": said}}}
    )()
    assert autolog.finish()
    settings_module.use(before)
    known = last_run().steps["logs"].run_metadata
    (run,) = [one for one in read(trackio_dir, "logging") if one["id"] == known["trackio_run_id"]]
    assert run["config"]["status"] == "finished"
    assert run["config"]["zenml/pipeline_run"] == last_run().name
    assert run["config"]["tags"][1:] == ["logging", last_run().name, "logs"]
    assert values(run, "by/hand") == [2]
    assert run["name"] == known["trackio_run_name"]


def test_what_is_said_at_the_step_goes_before_what_is_said_at_the_pipeline(
    tracker: str, in_memory: autolog.MemorySink
) -> None:
    key = "experiment_tracker.trackio-autolog"
    of_the_pipeline = {"run_name": "of-the-pipeline", "tags": ["nightly"], "metadata": {"split": "test"}}

    @pipeline(settings={key: of_the_pipeline})
    def saying_twice() -> None:
        logs.with_options(experiment_tracker=tracker, settings={key: {"run_name": "of-the-step"}})()

    saying_twice()
    (run,) = in_memory.runs
    assert run.name == "of-the-step"
    assert run.config["tags"][0] == "nightly"
    assert run.config["split"] == "test"


@step(enable_cache=False)
def trains_in_a_thread() -> None:
    def work() -> None:
        get_trackio_run().log({"in/thread": 1})
        with autolog.enabled("sklearn"):  # nested, too
            LogisticRegression().fit(X, y)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    Ridge().fit(X, y)
    assert autolog.current_run() is get_trackio_run()


@pipeline
def threading_inside() -> None:
    trains_in_a_thread()


def test_a_thread_of_a_step_writes_to_the_steps_run(tracker: str, sink: autolog.MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, system_interval=0):
        threading_inside.with_options(steps={"trains_in_a_thread": {"experiment_tracker": tracker}})()
    run, child = sink.runs
    assert run.metrics["in/thread"] == 1
    assert (run.config["model"], child.config["model"]) == ("LogisticRegression", "Ridge")
    assert run.status == child.status == "finished"
    assert child.parent == run.id


@step(enable_cache=False)
def finishes_and_fails() -> None:
    get_trackio_run().log({"before": 1})
    get_trackio_run().finish()
    autolog.finish()
    raise ValueError("after its run was delivered")


@pipeline
def ending_twice() -> None:
    finishes_and_fails()


def test_a_step_that_fails_after_its_run_was_delivered_is_a_failed_run(
    tracker: str, trackio_dir: Path
) -> None:
    before = settings_module.in_force()
    settings_module.use(autolog.Settings(log_code=False, system_interval=0, finish_timeout=60.0))
    with pytest.raises(RuntimeError, match="finishes_and_fails"):
        ending_twice.with_options(steps={"finishes_and_fails": {"experiment_tracker": tracker}})()
    assert autolog.finish()
    settings_module.use(before)
    (run,) = read(trackio_dir, "ending_twice")
    assert run["config"]["status"] == "failed"
    assert run["config"]["error"] == "ValueError: after its run was delivered"
    (alert,) = run["alerts"]
    assert "ValueError" in alert["title"]


def test_a_stack_without_our_tracker_is_left_alone(make_stack: MakeStack, sink: autolog.MemorySink) -> None:
    make_stack(flavor=None)

    @pipeline
    def alone() -> None:
        returns_one()

    with autolog.enabled("zenml", sink=sink):
        alone()
    assert sink.records == []
    assert dict(last_run().steps["returns_one"].run_metadata) == {}


@step(enable_cache=False)
def returns_one() -> int:
    return 1
