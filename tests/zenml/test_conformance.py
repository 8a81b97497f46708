"""ZenML keeps the promises: what is trained is trained in a step, without a tracker and with ours."""

import contextvars
import inspect
import re
import signal
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import live
from autolog.process import guard
from autolog.sinks.memory import MemorySink
from tests.conformance.base import Autolog, Faults, Promises, Subject, Tracker
from tests.conformance.breaking import WAYS, breaking, places_passed
from tests.programs import read
from tests.programs import start_warm as start
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from sklearn.linear_model import LogisticRegression
from zenml import pipeline, step

from autolog.zenml import TrackioExperimentTracker
from autolog.zenml.run import StepRun
from autolog.zenml.steps import Step
from tests.sklearn.test_conformance import Failing, X_test, X_train, y_test, y_train

# What steps hand to their tests; they run in this process.
trained: list[Any] = []
caught: list[BaseException] = []
to_raise: list[BaseException] = []


@step(enable_cache=False)
def train(C: float) -> None:
    trained.append(LogisticRegression(C=C).fit(X_train, y_train))


def remember(exception: BaseException) -> None:
    caught.append(exception)


@step(enable_cache=False, on_failure=remember)
def fail() -> None:
    Failing(to_raise.pop()).fit(X_train, y_train)


@pipeline
def training(C: float) -> None:
    train(C)


@pipeline
def failing() -> None:
    fail()


class ZenML(Subject):
    name = "zenml"
    strength = "C"
    program = """
        from tests.zenml.slow import slow_training

        slow_training()
    """

    def train(self, strength: float = 1.0) -> Any:
        training(C=strength)
        return trained.pop()

    def result(self, trained: Any) -> bytes:
        data: bytes = trained.predict_proba(X_test).tobytes()
        return data

    def evaluate(self, trained: Any) -> float:
        return float(trained.score(X_test, y_test))

    def fail(self, error: BaseException) -> None:
        """ZenML raises another exception than the step's, which it hands to the failure hook."""
        to_raise.append(error)
        caught.clear()
        try:
            failing()
        finally:
            if caught:
                raise caught[0]


class InSteps(Autolog):
    @contextmanager
    def enabled(self, framework: str) -> Iterator[None]:
        with autolog.enabled(framework, "sklearn", sink=self.sink, log_code=False, budget=1e9):
            yield


class TestZenML(Promises):
    subject = ZenML()

    @pytest.fixture(autouse=True)
    def untracked(self, make_stack: MakeStack) -> None:
        make_stack(flavor=None)

    @pytest.fixture
    def tracker(self) -> Tracker:
        return InSteps()

    # A step may run anywhere, so a run around its pipeline keeps out of it: tests/zenml/test_steps.py. Two
    # pipelines at the same time are nothing that ZenML's local orchestrator knows; steps are: test_ends.py.
    test_a_run_of_the_users_stays_open_and_current = None  # type: ignore[assignment]
    test_a_training_that_fails_leaves_the_users_run_to_him = None  # type: ignore[assignment]
    test_trainings_in_threads_are_whole_and_apart = None  # type: ignore[assignment]

    test_everything_is_put_back = Faults.test_everything_is_put_back

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_step_that_is_killed_is_kept_and_says_so(self, tmp_path: Path, number: int) -> None:
        process = start(tmp_path, f"autolog.enable('zenml')\n{textwrap.dedent(self.subject.program)}")
        assert process.stdout is not None
        # ZenML has something to say before, and around it.
        assert any("ready" in line for line in iter(process.stdout.readline, ""))
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode != 0
        (kept,) = read(tmp_path)
        assert kept["config"]["status"] == "killed"
        assert kept["config"]["params"]["C"] == 3.0
        assert not kept["alerts"]


# With our tracker: every function of the room breaks ----------------------------------------------------

CLASSES = (Step, StepRun, TrackioExperimentTracker)
# What stands in for a run when something else breaks; what ZenML itself calls, which is all shield inside.
LEFT_OUT = {
    "enter_step",
    "unrecorded",
    "enter",
    "prepare_step_run",
    "get_step_run_metadata",
    "cleanup_step_run",
}


@step(enable_cache=False)
def tracked() -> float:
    import trackio

    model = LogisticRegression(C=2.0).fit(X_train, y_train)
    trackio.log({"by/trackio": 1})
    trackio.alert("odd")
    accuracy = float(model.score(X_test, y_test))
    trained.append((accuracy, model.predict_proba(X_test).tobytes()))
    return accuracy


@pipeline
def tracking() -> None:
    tracked()


def places_of_the_room() -> list[str]:
    """Functions that a tracked step passes by name, and all methods of the room's classes."""
    functions = [
        place
        for place in places_passed("zenml", lambda: record(MemorySink()))
        if place.startswith("autolog.zenml") and not place.endswith("__getattr__")
    ]
    methods = [
        f"{cls.__module__}:{cls.__name__}.{name}"
        for cls in CLASSES
        for name, thing in vars(cls).items()
        if inspect.isfunction(thing) and not name.endswith("__")
    ]
    return [place for place in (*functions, *methods) if re.split("[:.]", place)[-1] not in LEFT_OUT]


def record(sink: MemorySink) -> tuple[float, bytes]:
    trained.clear()
    with autolog.enabled("zenml", "sklearn", sink=sink, log_code=False, budget=1e9):
        contextvars.copy_context().run(tracking)  # a step whose end is broken leaves its run the current one
    outcome: tuple[float, bytes] = trained.pop()
    return outcome


@pytest.mark.exhaustive
def test_a_fault_of_ours_in_any_place_of_the_room_fails_no_step(
    make_stack: MakeStack,
    client: Any,
    expected_faults: list[guard.Fault],
) -> None:
    make_stack()
    name = client.active_stack.experiment_tracker.name
    tracked.configure(experiment_tracker=name)
    bare = record(MemorySink())
    broken = []
    for number, place in enumerate(places_of_the_room()):
        way = [*WAYS][number % len(WAYS)]
        with breaking(place, way) as calls:
            assert record(MemorySink()) == bare, f"{place} {way}"
        if not calls:
            continue
        broken.append(place)
        assert not guard.inside_observer(), f"{place} {way}"
        if way == "raises":
            assert expected_faults, f"{place} {way}, and nobody is told"
        expected_faults.clear()
        autolog.disable()
        autolog.finish()
        for left in live.live_runs():  # whose end was broken: open until the process ends
            left.end("failed")
        if len(broken) % 5 == 0:
            sink = MemorySink()
            assert record(sink) == bare, f"after {place} {way}"
            (run,) = sink.runs
            assert run.status == "finished", f"after {place} {way}"
            assert run.metrics["by/trackio"] == 1, f"after {place} {way}"
    assert len(broken) > 12, "nearly nothing was broken"
    print(f"\n{len(broken)} places: {', '.join(broken)}")
