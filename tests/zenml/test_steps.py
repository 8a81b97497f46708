"""What is trained in a step is recorded in a run of the step's, whatever tracker tracks it."""

import importlib.util
import json
from typing import Any

import pytest

import autolog
from tests.programs import read
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from sklearn.linear_model import LogisticRegression, Ridge
from zenml import pipeline, step
from zenml.client import Client

from autolog.zenml import get_trackio_run

X = [[0.0], [1.0], [2.0], [3.0]]
y = [0, 0, 1, 1]


def last_run() -> Any:
    return Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0]


@step(enable_cache=False)
def enables_and_trains(sink_of_the_test: str) -> None:
    autolog.enable("sklearn", "zenml", **SETTINGS)
    LogisticRegression().fit(X, y)
    Ridge().fit(X, y)


@step(enable_cache=False)
def trains() -> None:
    LogisticRegression().fit(X, y)
    Ridge().fit(X, y)


@step(enable_cache=False)
def loads() -> None:
    pass


@step(enable_cache=False)
def trains_and_fails(early: bool) -> None:
    if not early:
        autolog.enable(**SETTINGS)
    LogisticRegression().fit(X, y)
    raise ValueError("the user's own")


SETTINGS: dict[str, Any] = {}


@pytest.fixture
def settings(sink: autolog.MemorySink) -> dict[str, Any]:
    """Of `enable()`, wherever the test or its steps call it."""
    SETTINGS.clear()
    SETTINGS.update(sink=sink, log_code=False, system_interval=0, log_models=False, budget=1e9)
    return SETTINGS


@pipeline
def training() -> None:
    loads()
    trains()


@pipeline
def training_late() -> None:
    loads()
    enables_and_trains("")


@pytest.mark.parametrize("late", [False, True])
def test_without_a_tracker_a_training_opens_the_steps_run(
    make_stack: MakeStack, sink: autolog.MemorySink, settings: dict[str, Any], late: bool
) -> None:
    make_stack(flavor=None)
    if late:
        training_late()
    else:
        with autolog.enabled(**settings):
            training()
    autolog.disable()
    ran = last_run()
    name = "enables_and_trains" if late else "trains"
    run, child = sink.runs  # of the step that only loads there is none
    assert run.name == f"{ran.name}_{name}"
    assert run.project == run.config["zenml/pipeline"] == ("training_late" if late else "training")
    assert run.group == child.group == ran.name
    assert run.config["model"] == "LogisticRegression"
    assert child.config["model"] == "Ridge"
    assert child.parent == run.id
    assert run.status == child.status == "finished"
    assert ran.steps[name].run_metadata["trackio_run_id"] == run.id
    assert "trackio_run_id" not in ran.steps["loads"].run_metadata


@pytest.mark.parametrize("early", [False, True])
def test_without_a_tracker_a_failing_step_is_a_failed_run(
    make_stack: MakeStack, sink: autolog.MemorySink, settings: dict[str, Any], early: bool
) -> None:
    make_stack(flavor=None)
    if early:
        autolog.enable(**settings)

    @pipeline
    def failing() -> None:
        trains_and_fails(early)

    with pytest.raises(RuntimeError, match="trains_and_fails"):
        failing()
    (run,) = sink.runs
    assert run.status == "failed"
    assert run.config["error"] == "ValueError: the user's own"
    assert len(run.alerts) == 1
    with pytest.raises(autolog.RunError):
        autolog.current_run()


@step(enable_cache=False)
def trains_and_logs() -> None:
    get_trackio_run().log({"by/hand": 1})
    LogisticRegression().fit(X, y).score(X, y)
    Ridge().fit(X, y)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_tracked_steps_run_takes_its_trainings(
    make_stack: MakeStack, sink: autolog.MemorySink, settings: dict[str, Any], tracked: bool
) -> None:
    stack = make_stack()
    tracker = stack.components["experiment_tracker"][0].name if tracked else None

    @pipeline
    def both() -> None:
        trains_and_logs.with_options(experiment_tracker=tracker)()

    with autolog.enabled(**settings):
        both()
    run, child = sink.runs
    assert run.metrics["by/hand"] == 1
    assert "train/accuracy" in run.metrics
    assert (run.config["model"], child.config["model"]) == ("LogisticRegression", "Ridge")
    assert run.project == "both"
    assert child.parent == run.id


def test_a_run_of_ones_own_around_the_pipeline_keeps_out_of_its_steps(
    make_stack: MakeStack, sink: autolog.MemorySink, settings: dict[str, Any]
) -> None:
    # A step may run anywhere, where there is no such run; so it belongs to its pipeline run alone.
    make_stack(flavor=None)
    with autolog.enabled(**settings), autolog.run("outer"):
        training()
    outer, run, _ = sink.runs
    assert "model" not in outer.config
    assert run.parent is None


# With ZenML's own tracker, and with any other --------------------------------------------------------


@step(enable_cache=False)
def trains_by_trackio() -> None:
    import trackio

    trackio.log({"by/hand": 1})
    LogisticRegression().fit(X, y)
    assert get_trackio_run() is trackio.context_vars.current_run.get()
    get_trackio_run().log({"by/hand": 2})


def test_with_zenmls_own_tracker_its_run_is_adopted(make_stack: MakeStack, trackio_dir: Any) -> None:
    if importlib.util.find_spec("zenml.integrations.trackio") is None:
        pytest.skip("this ZenML has no tracker of its own for Trackio")
    stack = make_stack("trackio", project_name="adopted")
    tracker = stack.components["experiment_tracker"][0].name

    @pipeline
    def by_zenml() -> None:
        trains_by_trackio.with_options(experiment_tracker=tracker)()

    with autolog.enabled(log_code=False, log_models=False):
        by_zenml()
    autolog.finish()
    (run,) = read(trackio_dir, "adopted")
    assert run["config"]["model"] == "LogisticRegression"
    assert [row["by/hand"] for row in run["logs"] if "by/hand" in row] == [1, 2]
    known = last_run().steps["trains_by_trackio"].run_metadata
    assert known["trackio_run_id"] == run["id"]
    assert run["id"] in known["trackio_run_url"]


def test_beside_another_tracker_its_url_stays(make_stack: MakeStack, client: Any, trackio_dir: Any) -> None:
    stack = make_stack("elsewhere")
    tracker = stack.components["experiment_tracker"][0].name

    @pipeline
    def elsewhere() -> None:
        trains.with_options(experiment_tracker=tracker)()

    with autolog.enabled(log_code=False, log_models=False):
        elsewhere()
    autolog.finish()
    step_run = last_run().steps["trains"]
    (run,) = [one for one in read(trackio_dir, "elsewhere") if "parent" not in one["config"]]
    assert run["config"]["status"] == "finished"
    assert step_run.run_metadata["experiment_tracker_url"] == "https://elsewhere.example.org"
    assert run["id"] in step_run.run_metadata["trackio_run_url"]
    assert "api_key" not in json.dumps(step_run.run_metadata)


@step(enable_cache=False)
def enables_late() -> None:
    autolog.enable(log_code=False, log_models=False)
    get_trackio_run().log({"before": 1})
    LogisticRegression().fit(X, y)


@pytest.mark.parametrize("tracker", [None, "elsewhere"])
def test_enabled_in_a_step_its_run_and_urls_are_as_if_enabled_at_the_top(
    make_stack: MakeStack, trackio_dir: Any, tracker: str | None
) -> None:
    stack = make_stack(flavor=tracker)
    name = stack.components["experiment_tracker"][0].name if tracker else None

    @pipeline
    def late() -> None:
        enables_late.with_options(experiment_tracker=name)()

    late.with_options(run_name=f"late-{tracker}")()
    autolog.finish()
    autolog.disable()
    ran = last_run()
    known = ran.steps["enables_late"].run_metadata
    (run,) = [one for one in read(trackio_dir, "late") if one["id"] == known["trackio_run_id"]]
    assert run["name"] == f"late-{tracker}_enables_late"
    assert [row["before"] for row in run["logs"] if "before" in row] == [1]
    assert run["config"]["model"] == "LogisticRegression"
    assert run["config"]["status"] == "finished"
    assert run["id"] in known["trackio_run_url"]
    assert known["experiment_tracker_url"] == (
        known["trackio_run_url"] if tracker is None else "https://elsewhere.example.org"
    )
    if tracker is None:
        assert ran.run_metadata["experiment_tracker_url"].endswith(f"run_ids={run['id']}")
