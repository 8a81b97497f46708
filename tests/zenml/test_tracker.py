"""Our tracker on a local ZenML: real pipelines, a run for each step that names it."""

import re
from typing import Annotated, Any

import pytest

import autolog
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from zenml import pipeline, step
from zenml.utils.settings_utils import is_valid_setting_key

from autolog.zenml import TrackioExperimentTracker, TrackioExperimentTrackerSettings, get_trackio_run

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


def test_a_steps_own_project_comes_before_the_trackers(
    client: Any, make_stack: MakeStack, in_memory: autolog.MemorySink
) -> None:
    make_stack(project="of-the-tracker")
    name = client.active_stack.experiment_tracker.name
    for said, project in (({}, "of-the-tracker"), ({"project": "of-the-step"}, "of-the-step")):
        in_memory.clear()
        one_step.with_options(
            steps={"plain": {"experiment_tracker": name, "settings": {"experiment_tracker": said}}}
        )()
        assert [run.project for run in in_memory.runs] == [project]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"tgas": ["a"]}, "tgas: not a setting of a step. There are project, run_name, tags, metadata."),
        ({"project": "registry-x"}, "belong to Trackio's registries"),
    ],
)
def test_a_slip_in_what_is_said_of_a_step_is_refused_before_anything_runs(
    tracker: str, in_memory: autolog.MemorySink, said: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        TrackioExperimentTrackerSettings(**said)
    use = {"experiment_tracker": tracker, "settings": {"experiment_tracker": said}}
    with pytest.raises(ValueError, match=re.escape(why)):
        one_step.with_options(steps={"plain": use})()
    assert in_memory.records == []


# Links -------------------------------------------------------------------------------------------------


@step(enable_cache=False)
def makes() -> Annotated[int, "number"]:
    return 3


@step(enable_cache=False)
def takes(given: int) -> None:
    get_trackio_run().log({"given": given})


@pipeline
def linked() -> None:
    takes(makes())


def test_a_run_leads_to_what_zenml_has_of_its_step(
    client: Any, tracker: str, in_memory: autolog.MemorySink
) -> None:
    linked.with_options(steps={"takes": {"experiment_tracker": tracker}})()
    (run,) = in_memory.runs
    ran = last_run(client)
    config = run.config
    assert config["zenml/pipeline_run_id"] == str(ran.id)
    assert config["zenml/step_run_id"] == str(ran.steps["takes"].id)
    assert config["zenml/stack"] == client.active_stack_model.name
    artifact = client.get_artifact_version(config["zenml/inputs"]["given"][0]["id"])
    assert config["zenml/inputs"] == {
        "given": [
            {
                "artifact": "number",
                "version": str(artifact.version),
                "id": str(artifact.id),
                "uri": artifact.uri,
            }
        ]
    }
    assert config["zenml/input/given"] == f"number:{artifact.version}"
    assert "zenml/url" not in config  # without a server there is no dashboard


# The flavor --------------------------------------------------------------------------------------------


def test_the_flavor_has_a_logo_and_a_page_and_a_tracker_tells_its_flavor(client: Any) -> None:
    from zenml.enums import StackComponentType as Kind

    flavor = client.get_flavor_by_name_and_type("trackio-autolog", Kind.EXPERIMENT_TRACKER)
    assert flavor.logo_url.endswith("/trackio.png")
    assert flavor.docs_url.startswith("https://docs.zenml.io/")
    assert TrackioExperimentTracker.FLAVOR == "trackio-autolog"


def test_zenml_registers_a_flavor_by_its_own_class_and_not_by_the_trackers(client: Any) -> None:
    """ZenML's page on trackers of one's own tells of an older way."""
    from zenml.enums import StackComponentType as Kind

    with pytest.raises(TypeError, match="does not point to a subclass of the ZenML"):
        client.create_flavor("autolog.zenml.TrackioExperimentTracker", Kind.EXPERIMENT_TRACKER)


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
def goes_on_after_its_end() -> None:
    run = get_trackio_run()
    run.finish("killed")
    run.finish()
    run.log({"after": 1})
    run.log(None)
    run.log({"odd step": 1}, "first")
    run.log_system(None)
    run.alert("odd", level="fatal")
    with autolog.run("inside"):
        pass
    assert get_trackio_run() == run


@pipeline
def going_on() -> None:
    goes_on_after_its_end()


def test_a_steps_run_takes_what_comes_after_its_end_and_raises_no_more_than_trackios(
    tracker: str, in_memory: autolog.MemorySink, expected_faults: list[Any]
) -> None:
    going_on.with_options(steps={"goes_on_after_its_end": {"experiment_tracker": tracker}})()
    run, child = in_memory.runs
    assert run.status == "killed"  # as the step has said
    assert run.metrics == {"after": 1}
    assert (child.parent, child.project) == (run.id, run.project)
    assert [fault.where for fault in expected_faults] == [
        "run.log in a step",
        "run.log in a step",
        "run.log_system in a step",
        "run.alert in a step",
    ]


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
