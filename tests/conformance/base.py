"""What an autologger is held to: a framework and a tracker join with a short description each.

:class:`Promises` are the lines that users of any tracker would sign: the failures of other trackers that
were reproduced, turned round. They look at a training from outside, so they can be run against any tracker:
describe it as a :class:`Tracker`, a framework as a :class:`Subject`, and derive a test class.
:class:`Faults` breaks autolog itself in every place that a training passes.

No test here can be answered with `pass`: a description says how to train, never what to expect.
"""

from __future__ import annotations

import copy
import logging
import pickle
import random
import re
import signal
import subprocess
import textwrap
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autolog
from autolog.core import live
from autolog.core.run import Run
from autolog.process import background, guard, hooks
from autolog.sinks.memory import MemoryRun, MemorySink
from tests.conformance.breaking import WAYS, breaking, places_passed, warning
from tests.keys import undocumented
from tests.programs import read, run, until_on_disk
from tests.programs import start_warm as start


class Subject(ABC):
    """How to train with a framework: small, seeded, on real data that ships with a package."""

    name: str
    """In the tracker's list of frameworks."""

    strength: str
    """The name of the hyperparameter that :meth:`train` sets, as it stands among a run's parameters."""

    is_slow = False
    """Whether each place is broken in one way only, a different one each time, and not in all of them."""

    clean_exits: frozenset[int] = frozenset()
    """Signals after which the framework itself, without any tracker, ends the process as if all were well."""

    program: str
    """A program that trains with strength 3 for a minute at least, and says ``ready`` in the middle of it."""

    @abstractmethod
    def train(self, strength: float = 1.0) -> Any:
        """One training; returns what was trained. ``strength`` is a hyperparameter that is recorded."""

    @abstractmethod
    def result(self, trained: Any) -> bytes:
        """What came out: weights or predictions, to the last bit."""

    @abstractmethod
    def evaluate(self, trained: Any) -> float:
        """Evaluate on held-out data as a user would; returns the accuracy that they see."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """A training in whose middle this error is raised."""


@dataclass
class Kept:
    """A run as somebody finds it afterwards, whoever recorded it."""

    id: str
    name: str
    status: str
    """``running``, ``finished``, ``failed`` or ``killed``."""
    parent: str | None
    params: dict[str, Any]
    """Hyperparameters by name."""
    metrics: dict[str, Any]
    """The last value of each metric by name."""
    accuracy: float | None
    """On held-out data."""
    has_confusion_matrix: bool
    """Of held-out data."""
    artifacts: list[str]
    """Their types."""
    alerts: list[str] = field(default_factory=list)
    """What a person is told."""


class UsersRun(ABC):
    """A run of the user's own, inside its ``with`` block."""

    @abstractmethod
    def log(self, metrics: dict[str, float]) -> None:
        """Log to it."""

    @abstractmethod
    def is_open_and_current(self) -> bool:
        """Whether the next record would go to it."""


class Tracker(ABC):
    """What records trainings by itself once it is turned on."""

    words: tuple[str, ...]
    """What would betray it in a pickle, on the screen or in a log."""

    @abstractmethod
    def enabled(self, framework: str) -> AbstractContextManager[Any]:
        """Recording is on inside, with the tracker's own defaults, and off again afterwards."""

    @abstractmethod
    def run(self, name: str) -> AbstractContextManager[UsersRun]:
        """A run of the user's own."""

    @abstractmethod
    def runs(self) -> list[Kept]:
        """All runs so far, in the order of their opening."""


class Autolog(Tracker):
    """autolog, into memory."""

    words = ("autolog",)

    class _Run(UsersRun):
        def __init__(self, run: Run):
            self.run = run

        def log(self, metrics: dict[str, float]) -> None:
            self.run.log(metrics)

        def is_open_and_current(self) -> bool:
            return self.run.status == "running" and autolog.current_run() is self.run

    def __init__(self) -> None:
        self.sink = MemorySink()

    @contextmanager
    def enabled(self, framework: str) -> Iterator[None]:
        with autolog.enabled(framework, sink=self.sink, log_code=False, budget=1e9):
            yield

    @contextmanager
    def run(self, name: str) -> Iterator[UsersRun]:
        with autolog.run(name) as run:
            yield self._Run(run)

    def runs(self) -> list[Kept]:
        return [
            Kept(
                id=run.id,
                name=run.name,
                status=run.status,
                parent=run.parent,
                params=run.config.get("params", {}),
                metrics=run.metrics,
                accuracy=run.metrics.get("test/accuracy", run.metrics.get("val/accuracy")),
                has_confusion_matrix=bool(
                    {"val/confusion_matrix", "test/confusion_matrix"} & set(run.charts)
                ),
                artifacts=[artifact["type"] for artifact in run.artifacts],
                alerts=[alert["title"] for alert in run.alerts],
            )
            for run in self.sink.runs
        ]


class Promises:
    """The promises. A test class derives from it and sets ``subject``; ``tracker`` if it is not autolog."""

    subject: Subject

    @pytest.fixture
    def tracker(self) -> Tracker:
        return Autolog()

    @pytest.fixture
    def recorded(self, tracker: Tracker) -> Iterator[Tracker]:
        with tracker.enabled(self.subject.name):
            yield tracker
        autolog.finish()

    # The user's program stays as it was -----------------------------------------------------------

    def test_results_and_random_numbers_are_bit_identical(self, tracker: Tracker) -> None:
        def program() -> tuple[Any, ...]:
            random.seed(5)
            np.random.seed(5)
            trained = self.subject.train()
            accuracy = self.subject.evaluate(trained)
            return self.subject.result(trained), accuracy, random.random(), np.random.rand()

        bare = program()
        assert program() == bare, "two bare runs differ: nothing can be said"
        with tracker.enabled(self.subject.name):
            assert program() == bare
        assert program() == bare
        assert len(tracker.runs()) == 1

    @pytest.mark.parametrize("error", [ValueError("his"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
    def test_the_users_exception_arrives_and_the_run_says_so(
        self, recorded: Tracker, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as caught:
            self.subject.fail(error)
        assert caught.value is error
        (run,) = recorded.runs()
        assert run.status == ("killed" if isinstance(error, KeyboardInterrupt) else "failed")

    def test_nothing_is_printed_logged_or_filtered(
        self, recorded: Tracker, capfd: pytest.CaptureFixture[str]
    ) -> None:
        root = list(logging.getLogger().handlers), logging.getLogger().level
        filters = list(warnings.filters)
        self.subject.evaluate(self.subject.train())
        assert background.drain(60)  # while code of ours runs, a filter drops what it is warned of
        assert (list(logging.getLogger().handlers), logging.getLogger().level) == root
        assert list(warnings.filters) == filters
        assert not [word for word in recorded.words if word in "".join(capfd.readouterr())]

    def test_no_attribute_is_left_on_what_was_trained(self, tracker: Tracker) -> None:
        bare = self.subject.train()
        self.subject.evaluate(bare)
        with tracker.enabled(self.subject.name):
            trained = self.subject.train()
            self.subject.evaluate(trained)
        assert set(vars(trained)) == set(vars(bare))

    def test_what_was_trained_pickles_and_copies_while_recorded_and_after(self, tracker: Tracker) -> None:
        with tracker.enabled(self.subject.name):
            trained = self.subject.train()
            expected = self.subject.result(trained)
            data = pickle.dumps(trained)
            assert self.subject.result(pickle.loads(data)) == expected
            assert self.subject.result(copy.deepcopy(trained)) == expected
        assert self.subject.result(pickle.loads(data)) == expected
        assert not [word for word in tracker.words if word.encode() in data]

    # Runs are right -------------------------------------------------------------------------------

    def strengths(self, runs: list[Kept]) -> list[float]:
        return [float(run.params[self.subject.strength]) for run in runs]

    def test_two_trainings_are_two_whole_runs(self, recorded: Tracker) -> None:
        for strength in (1.0, 2.0):
            self.subject.train(strength)
        assert self.strengths(recorded.runs()) == [1.0, 2.0]
        self.assert_whole(recorded.runs())

    def test_trainings_in_threads_are_whole_and_apart(self, recorded: Tracker) -> None:
        strengths = [1.0, 2.0, 3.0]
        with ThreadPoolExecutor(3) as pool:
            trained = list(pool.map(self.subject.train, strengths))
            accuracies = list(pool.map(self.subject.evaluate, trained))
        runs = recorded.runs()
        assert sorted(self.strengths(runs)) == strengths
        seen = dict(zip(strengths, accuracies, strict=True))
        assert [run.accuracy for run in runs] == pytest.approx([seen[s] for s in self.strengths(runs)])
        self.assert_whole(runs)

    def test_evaluation_goes_on_in_the_run(self, recorded: Tracker) -> None:
        first, second = self.subject.train(1.0), self.subject.train(0.01)
        accuracies = [self.subject.evaluate(second), self.subject.evaluate(first)][::-1]
        assert [run.accuracy for run in recorded.runs()] == pytest.approx(accuracies)
        assert all(run.has_confusion_matrix for run in recorded.runs())

    def test_a_run_of_the_users_stays_open_and_current(self, recorded: Tracker) -> None:
        with recorded.run("his") as his:
            self.subject.train(1.0)
            self.subject.train(2.0)
            assert his.is_open_and_current()
            his.log({"mine": 1})
        first, second = recorded.runs()
        assert (first.name, first.status, first.metrics["mine"]) == ("his", "finished", 1)
        assert (second.parent, second.status) == (first.id, "finished")
        assert self.strengths([first, second]) == [1.0, 2.0]

    def test_a_training_that_fails_leaves_the_users_run_to_him(self, recorded: Tracker) -> None:
        with recorded.run("his") as his:
            with pytest.raises(ValueError, match="his"):
                self.subject.fail(ValueError("his"))
            assert his.is_open_and_current()
            self.subject.train()
        first, _ = recorded.runs()
        assert first.status == "finished"
        assert "ValueError" in first.alerts[0]

    # Records are whole ----------------------------------------------------------------------------

    def test_held_out_evaluation_parameters_and_model_are_kept(self, recorded: Tracker) -> None:
        accuracy = self.subject.evaluate(self.subject.train(2.0))
        (run,) = recorded.runs()
        assert run.accuracy == pytest.approx(accuracy)
        assert run.has_confusion_matrix
        assert self.strengths([run]) == [2.0]
        assert run.artifacts.count("model") == 1

    def assert_whole(self, runs: list[Kept]) -> None:
        assert all(run.status == "finished" and run.artifacts for run in runs)
        assert len({run.id for run in runs}) == len(runs)


# autolog itself ---------------------------------------------------------------------------------------


class Faults:
    """What autolog promises beyond that: whatever breaks in it, the training is as it was."""

    subject: Subject

    def test_a_run_holds_what_it_must(self, sink: MemorySink) -> None:
        with autolog.enabled(self.subject.name, sink=sink, log_code=False, budget=1e9):
            self.subject.evaluate(self.subject.train())
        (run,) = sink.runs
        for key in ("framework", "framework/version", "model", "data/train", "autolog/overhead_seconds"):
            assert run.config[key]
        assert run.config["framework"] == self.subject.name
        held_out = "test" if "test/accuracy" in run.metrics else "val"
        assert {f"{held_out}/confusion_matrix", f"{held_out}/roc"} <= set(run.charts)
        assert f"{held_out}/per_class" in run.tables
        assert not undocumented(run), "docs/keys.md names every key"

    def test_everything_is_put_back(self, sink: MemorySink) -> None:
        pickle.dumps(
            self.subject.train()
        )  # Python itself remembers `__slotnames__` on a class at the first pickle
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            owners = [patch.owner() for patch in hooks._patches.values()]
            during = [dict(vars(owner)) for owner in owners]
        before = [dict(vars(owner)) for owner in owners]
        assert owners
        assert before != during
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            self.subject.train()
        assert [dict(vars(owner)) for owner in owners] == before

    @pytest.mark.parametrize(
        ("number", "status"),
        [(signal.SIGTERM, "killed"), (signal.SIGINT, "killed"), (signal.SIGKILL, "crashed")],
        ids=["SIGTERM", "SIGINT", "SIGKILL"],
    )
    def test_a_training_that_is_killed_is_kept_and_says_so(
        self, tmp_path: Path, number: int, status: str
    ) -> None:
        process = start(
            tmp_path, f"autolog.enable({self.subject.name!r})\n" + textwrap.dedent(self.subject.program)
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        until_on_disk(tmp_path, f'"{self.subject.strength}"')
        process.send_signal(number)
        for again in (signal.SIGINT if number == signal.SIGINT else 0, 0):
            try:
                process.communicate(timeout=60)
                break
            except subprocess.TimeoutExpired:  # Python loses a Ctrl-C that falls into a weakref's callback
                process.send_signal(again)
        assert (process.returncode == 0) is (number in self.subject.clean_exits)
        run(tmp_path, "with autolog.run('next'): pass\nassert autolog.finish()")
        kept = next(run for run in read(tmp_path) if run["name"] != "next")
        assert kept["config"]["status"] == status
        assert float(kept["config"]["params"][self.subject.strength]) == 3.0

    @pytest.mark.exhaustive
    def test_a_fault_of_ours_in_any_place_changes_nothing(self, expected_faults: list[guard.Fault]) -> None:
        bare = self.train_and_evaluate()
        passed = places_passed(self.subject.name, lambda: self.record(MemorySink()))
        assert len(passed) > 30, "nearly nothing would be broken"
        unsaid = set()
        looked_at_next: list[str] = []
        for number, place in enumerate(passed):
            ways = [[*WAYS][number % len(WAYS)]] if self.subject.is_slow else WAYS
            looked_at_next.append(place)
            for way in ways:
                sink = MemorySink()
                with breaking(place, way) as calls:
                    assert self.record(sink) == bare, f"{place} {way}"
                assert calls, f"{place} is passed no longer"
                assert not guard.inside_observer(), f"{place} {way}"
                if way == "raises" and not any(_says_so(run) for run in sink.runs):
                    assert expected_faults, f"{place} {way}, and nobody is told"
                    unsaid.add(place)
                expected_faults.clear()
                if not self.subject.is_slow or len(looked_at_next) == 5 or place == passed[-1]:
                    self.assert_the_next_is_whole(f"after {looked_at_next} {way}")
                    looked_at_next.clear()
        print(f"\n{len(passed)} places, each broken in {len(WAYS)} ways: {', '.join(passed)}")
        print(f"said in the log only: {', '.join(sorted(unsaid))}")

    @pytest.mark.slow
    def test_where_warnings_are_errors_all_is_recorded_and_none_is_ours(self) -> None:
        """Every function of ours warns, in all threads: the user is told what they are told without us."""
        plain, erring = MemorySink(), MemorySink()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            bare = self.train_and_evaluate()
            of_the_framework = _texts(told)
            told.clear()
            with warning(self.subject.name) as passed:
                assert self.record(plain) == bare
            assert _texts(told) == of_the_framework, _texts(told) ^ of_the_framework
        assert len(passed) > 30, "nearly nothing would warn"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for text in of_the_framework:  # which alone would end the training
                warnings.filterwarnings("ignore", re.escape(text))
            with warning(self.subject.name):
                assert self.record(erring) == bare
        for one, other in zip(erring.runs, plain.runs, strict=True):
            assert _keys(one) == _keys(other), _keys(one) ^ _keys(other)

    def train_and_evaluate(self) -> tuple[bytes, float]:
        trained = self.subject.train()
        return self.subject.result(trained), self.subject.evaluate(trained)

    def record(self, sink: MemorySink) -> tuple[bytes, float]:
        with autolog.enabled(self.subject.name, sink=sink, log_code=False, budget=1e9):
            found = self.train_and_evaluate()
            assert background.drain(60), "our thread's work was not done in time"
            return found

    def assert_the_next_is_whole(self, when: str) -> None:
        sink = MemorySink()
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            self.subject.train(2.0)
        (run,) = sink.runs
        assert run.status == "finished", when
        assert float(run.config["params"][self.subject.strength]) == 2.0, when
        assert "autolog/faults" not in run.config, when
        autolog.finish()
        for left in live.live_runs():  # whose end was broken: open until the process ends
            left.end("failed")


def _texts(told: list[warnings.WarningMessage]) -> set[str]:
    return {str(one.message) for one in told}


def _keys(run: MemoryRun) -> set[str]:
    """Of all that it holds, but for the numbers that Keras gives to its layers."""
    keys = {
        *run.metrics,
        *run.config,
        *run.charts,
        *run.tables,
        *run.html,
        *run.config.get("autolog/notes", {}),
    }
    return {re.sub(r"_\d+", "", key) for key in keys}


def _says_so(run: MemoryRun) -> bool:
    """Whether a run says that something is missing from it, in its notes or in the missing thing's place."""
    return run.project == "default" or any(word in repr(run.config) for word in ("ours", "unreadable"))


class Conformance(Promises, Faults):
    """Everything, for a framework that autolog records."""
