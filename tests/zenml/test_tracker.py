"""Our tracker on a local ZenML: real pipelines, a run for each step that names it."""

from typing import Any

import pytest

import autolog
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from zenml import pipeline, step
from zenml.utils.settings_utils import is_valid_setting_key

from autolog.zenml import TrackioExperimentTrackerSettings, get_trackio_run

seen: list[Any] = []  # what steps hand to their test; they run in this process


@step(enable_cache=False)
def evaluate(accuracy: float, params: dict[str, int]) -> float:
    run = get_trackio_run()
    seen.append((run, autolog.current_run()))
    if hasattr(run, "log"):
        run.log({"accuracy": accuracy})
    run.log_metrics({"f1": 0.5})
    if hasattr(run, "log_params"):
        run.log_params(params)
    run["parameters"] = params
    run["dataset"] = "digits"
    return accuracy


@step(enable_cache=False)
def untracked() -> None:
    seen.append("untracked")


@pipeline
def evaluation() -> None:
    evaluate(0.9, {"depth": 4})
    untracked()


def last_run(client: Any) -> Any:
    return client.list_pipeline_runs(sort_by="desc:created", size=1).items[0]


def test_a_tracked_step_is_a_run_and_any_other_step_is_none(
    client: Any, tracker: str, in_memory: autolog.MemorySink
) -> None:
    seen.clear()
    evaluation.with_options(steps={"evaluate": {"experiment_tracker": tracker}})()
    (run,) = in_memory.runs
    ran = last_run(client)
    assert run.status == "finished"
    assert run.metrics == {"accuracy": 0.9, "f1": 0.5}
    assert run.config["params"] == run.config["parameters"] == {"depth": 4}
    assert run.config["params/depth"] == run.config["parameters/depth"] == 4
    assert run.config["dataset"] == "digits"
    assert run.config["zenml/parameters"] == {"accuracy": 0.9, "params": {"depth": 4}}
    assert run.name == f"{ran.name}_evaluate"
    assert run.project == "evaluation"
    assert run.group == ran.name
    assert run.config["tags"] == ["evaluation", ran.name, "evaluate"]
    by = {"zenml/pipeline": "evaluation", "zenml/pipeline_run": ran.name, "zenml/step": "evaluate"}
    assert by.items() <= run.config.items()
    (mine, current), other = seen
    assert mine is current
    assert mine.id == run.id
    assert other == "untracked"
    assert "trackio_run_id" not in ran.steps["untracked"].run_metadata
    assert ran.steps["evaluate"].run_metadata["trackio_run_id"] == run.id
    with pytest.raises(autolog.RunError):  # nothing is left open
        autolog.current_run()


def test_outside_of_a_step_there_is_no_run_to_get() -> None:
    with pytest.raises(autolog.RunError, match="no step is running here"):
        get_trackio_run()


@step(enable_cache=False)
def asks_for_its_run() -> None:
    with pytest.raises(autolog.RunError) as asked:
        get_trackio_run()
    seen.append(str(asked.value))


@pipeline
def asking() -> None:
    asks_for_its_run()


def test_a_step_without_a_tracker_is_told_how_to_have_one(tracker: str) -> None:
    seen.clear()
    asking()
    (said,) = seen
    assert "'asks_for_its_run' has no Trackio run" in said
    assert '"trackio-autolog" in @step(experiment_tracker="...")' in said
    assert "autolog.enable()" in said


SAID: dict[str, Any] = {"run_name": "nightly-eval", "tags": ["nightly"], "metadata": {"dataset": "imagenet"}}


@step(enable_cache=False)
def plain() -> None:
    pass


@pipeline
def one_step() -> None:
    plain()


@pytest.mark.parametrize("level", ["step", "pipeline", "by name", "dict", "registered"])
def test_what_is_said_of_a_run_is_heard_wherever_it_is_said(
    client: Any, make_stack: MakeStack, in_memory: autolog.MemorySink, level: str
) -> None:
    make_stack(**(SAID if level == "registered" else {}))
    name = client.active_stack.experiment_tracker.name
    said: Any = TrackioExperimentTrackerSettings(**SAID)
    use = plain.with_options(experiment_tracker=name)
    if level == "step":
        use = use.with_options(settings={"experiment_tracker": said})
    elif level == "by name":
        if not is_valid_setting_key(f"experiment_tracker:{name}"):
            pytest.skip("this ZenML takes settings by a tracker's flavor, not by its name")
        use = use.with_options(settings={f"experiment_tracker:{name}": SAID})
    elif level == "dict":
        use = use.with_options(settings={"experiment_tracker.trackio-autolog": SAID})

    @pipeline(settings={"experiment_tracker": said} if level == "pipeline" else {})
    def saying() -> None:
        use()

    saying()
    (run,) = in_memory.runs
    assert run.name == "nightly-eval"
    assert run.config["tags"] == ["nightly", "saying", last_run(client).name, "plain"]
    assert run.config["dataset"] == "imagenet"
    # At once: it stands there before anything else is recorded of the step.
    first = next(record for record in in_memory.records if record["kind"] == "config")
    assert first["values"]["dataset"] == "imagenet"


def test_metadata_never_hides_what_a_run_says_of_itself(tracker: str, in_memory: autolog.MemorySink) -> None:
    said = {"metadata": {"status": "gold", "tags": "x", "zenml/step": "y", "api_key": "hf_abcdefghij"}}
    one_step.with_options(
        steps={"plain": {"experiment_tracker": tracker, "settings": {"experiment_tracker": said}}}
    )()
    (run,) = in_memory.runs
    assert run.status == "finished"
    assert run.config["zenml/step"] == "plain"
    assert run.config["metadata"] == {"status": "gold", "tags": "x", "zenml/step": "y"}
    assert run.config["api_key"] == "***"


# How steps end -----------------------------------------------------------------------------------------


@step(enable_cache=False)
def fails() -> None:
    get_trackio_run().log({"before": 1})
    raise ZeroDivisionError("the user's own")


@pipeline
def failing() -> None:
    fails()


def test_a_failing_step_is_a_failed_run_with_its_exception(
    tracker: str, in_memory: autolog.MemorySink
) -> None:
    with pytest.raises(RuntimeError, match="fails"):
        failing.with_options(steps={"fails": {"experiment_tracker": tracker}})()
    (run,) = in_memory.runs
    assert run.status == "failed"
    assert run.metrics == {"before": 1}
    assert run.config["error"] == "ZeroDivisionError: the user's own"
    (alert,) = run.alerts
    assert "ZeroDivisionError" in alert["title"]
    assert "the user's own" in alert["text"]
    assert alert["level"] == "error"


@step(enable_cache=False)
def finishes_its_run() -> None:
    get_trackio_run().finish()
    autolog.finish()


@step(enable_cache=False)
def finishes_its_run_and_fails() -> None:
    get_trackio_run().finish()
    raise ValueError("after its run")


@pipeline
def finishing(fail: bool) -> None:
    (finishes_its_run_and_fails if fail else finishes_its_run)()


@pytest.mark.parametrize("fail", [False, True])
def test_a_step_that_finished_its_run_ends_as_it_ends(
    tracker: str, in_memory: autolog.MemorySink, fail: bool
) -> None:
    names = ("finishes_its_run", "finishes_its_run_and_fails")
    run_it = finishing.with_options(steps={names[fail]: {"experiment_tracker": tracker}})
    if fail:
        with pytest.raises(RuntimeError, match="finishes_its_run_and_fails"):
            run_it(True)
    else:
        run_it(False)
    (run,) = in_memory.runs
    assert run.status == ("failed" if fail else "finished")
    assert len(run.alerts) == fail
