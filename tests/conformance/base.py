"""What every framework is held to. A framework joins with a short description of how to train with it.

The lines are the promises of the README and the reproduced failures of other trackers. No test here can be
answered with `pass`: a description says how to train, never what to expect.
"""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
import random
import warnings
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import autolog
from autolog import MemorySink
from autolog.core import guard, hooks
from autolog.core.run import Run
from autolog.sinks.memory import MemoryRun


class Subject(ABC):
    """How to train with a framework: small, seeded, on real data that ships with a package."""

    name: str
    """In autolog's catalogue."""

    @abstractmethod
    def train(self, strength: float = 1.0) -> Any:
        """One training; returns what was trained. ``strength`` is a hyperparameter that is recorded."""

    @abstractmethod
    def result(self, trained: Any) -> bytes:
        """What came out: weights or predictions, to the last bit."""

    @abstractmethod
    def evaluate(self, trained: Any) -> float:
        """Evaluate on held-out data as a user would; returns the accuracy that he sees."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """A training in whose middle this error is raised."""

    @abstractmethod
    def strength_of(self, run: MemoryRun) -> float:
        """The hyperparameter as it stands in a run's config."""


class Conformance:
    """The promises. A framework's test class derives from it and sets ``subject``."""

    subject: Subject

    @pytest.fixture
    def recorded(self, sink: MemorySink) -> Any:
        with autolog.enabled(self.subject.name, sink=sink, log_code=False, budget=1e9):
            yield sink
        autolog.finish()

    # The user's program stays as it was -----------------------------------------------------------

    def test_results_and_random_numbers_are_bit_identical(self, sink: MemorySink) -> None:
        def program() -> tuple[Any, ...]:
            random.seed(5)
            np.random.seed(5)
            trained = self.subject.train()
            accuracy = self.subject.evaluate(trained)
            return self.subject.result(trained), accuracy, random.random(), np.random.rand()

        bare = program()
        assert program() == bare, "two bare runs differ: nothing can be said"
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            assert program() == bare
        assert program() == bare
        assert len(sink.runs) == 1

    @pytest.mark.parametrize("error", [ValueError("his"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
    def test_the_users_exception_arrives_and_the_run_says_so(
        self, recorded: MemorySink, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as caught:
            self.subject.fail(error)
        assert caught.value is error
        (run,) = recorded.runs
        assert run.status == ("killed" if isinstance(error, KeyboardInterrupt) else "failed")
        assert not guard.inside_observer()

    def test_nothing_is_printed_logged_or_filtered(
        self, recorded: MemorySink, capfd: pytest.CaptureFixture[str]
    ) -> None:
        root = list(logging.getLogger().handlers), logging.getLogger().level
        filters = list(warnings.filters)
        self.subject.evaluate(self.subject.train())
        assert (list(logging.getLogger().handlers), logging.getLogger().level) == root
        assert list(warnings.filters) == filters
        assert "autolog" not in "".join(capfd.readouterr())

    def test_no_attribute_is_left_on_what_was_trained(self, sink: MemorySink) -> None:
        bare = set(vars(self.subject.train()))
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            trained = self.subject.train()
            self.subject.evaluate(trained)
        assert set(vars(trained)) == bare

    def test_what_was_trained_pickles_and_copies_while_recorded_and_after(self, sink: MemorySink) -> None:
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            trained = self.subject.train()
            expected = self.subject.result(trained)
            data = pickle.dumps(trained)
            assert self.subject.result(pickle.loads(data)) == expected
            assert self.subject.result(copy.deepcopy(trained)) == expected
        assert self.subject.result(pickle.loads(data)) == expected
        assert b"autolog" not in data

    def test_everything_is_put_back(self, sink: MemorySink) -> None:
        self.subject.train()
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            owners = [patch.owner() for patch in hooks._patches.values()]
            during = [dict(vars(owner)) for owner in owners]
        before = [dict(vars(owner)) for owner in owners]
        assert owners
        assert before != during
        with autolog.enabled(self.subject.name, sink=sink, log_code=False):
            self.subject.train()
        assert [dict(vars(owner)) for owner in owners] == before

    # Runs are right -------------------------------------------------------------------------------

    def test_two_trainings_are_two_whole_runs(self, recorded: MemorySink) -> None:
        for strength in (1.0, 2.0):
            self.subject.train(strength)
        assert [self.subject.strength_of(run) for run in recorded.runs] == [1.0, 2.0]
        self.assert_whole(recorded.runs)

    def test_trainings_in_threads_are_whole_and_apart(self, recorded: MemorySink) -> None:
        strengths = [1.0, 2.0, 3.0]
        with ThreadPoolExecutor(3) as pool:
            trained = list(pool.map(self.subject.train, strengths))
            accuracies = list(pool.map(self.subject.evaluate, trained))
        assert sorted(self.subject.strength_of(run) for run in recorded.runs) == strengths
        by_strength = dict(zip(strengths, accuracies, strict=True))
        for run in recorded.runs:
            assert run.metrics["val/accuracy"] == pytest.approx(by_strength[self.subject.strength_of(run)])
        self.assert_whole(recorded.runs)

    def test_evaluation_goes_on_in_the_run(self, recorded: MemorySink) -> None:
        first, second = self.subject.train(1.0), self.subject.train(0.01)
        accuracies = [self.subject.evaluate(second), self.subject.evaluate(first)][::-1]
        assert [run.metrics["val/accuracy"] for run in recorded.runs] == pytest.approx(accuracies)
        assert all("val/confusion_matrix" in run.charts for run in recorded.runs)

    def test_a_run_of_the_users_stays_open_and_current(self, recorded: MemorySink) -> None:
        with autolog.run("his") as run:
            self.subject.train(1.0)
            self.subject.train(2.0)
            assert run.status == "running"
            assert autolog.current_run() is run
            run.log({"mine": 1})
        his, child = recorded.runs
        assert (his.name, his.status, his.metrics["mine"]) == ("his", "finished", 1)
        assert (child.parent, child.status) == (his.id, "finished")
        assert [self.subject.strength_of(kept) for kept in (his, child)] == [1.0, 2.0]

    def test_a_training_that_fails_leaves_the_users_run_to_him(self, recorded: MemorySink) -> None:
        with autolog.run("his") as run:
            with pytest.raises(ValueError, match="his"):
                self.subject.fail(ValueError("his"))
            assert run.status == "running"
            self.subject.train()
        his, _ = recorded.runs
        assert his.status == "finished"
        assert "ValueError" in his.alerts[0]["title"]

    # Records are whole ----------------------------------------------------------------------------

    def test_a_run_holds_what_it_must(self, recorded: MemorySink) -> None:
        self.subject.evaluate(self.subject.train())
        (run,) = recorded.runs
        for key in ("framework", "framework/version", "model", "data/train", "autolog/overhead_seconds"):
            assert run.config[key]
        assert run.config["framework"] == self.subject.name
        assert [artifact["type"] for artifact in run.artifacts] == ["model"]
        assert {"val/confusion_matrix", "val/roc"} <= set(run.charts)
        assert "val/per_class" in run.tables

    @pytest.mark.parametrize(
        "method",
        [
            "params",
            "describe",
            "log",
            "table",
            "figure",
            "stage",
            "staged_artifact",
            "note",
            "_end",
            "_write",
        ],
    )
    @pytest.mark.parametrize("error", [RuntimeError("ours"), MemoryError(), RecursionError()], ids=repr)
    def test_a_fault_of_ours_costs_a_record_and_nothing_else(
        self,
        sink: MemorySink,
        monkeypatch: pytest.MonkeyPatch,
        expected_faults: list[guard.Fault],
        method: str,
        error: Exception,
    ) -> None:
        bare = self.subject.train()
        expected = self.subject.result(bare), self.subject.evaluate(bare)

        def broken(*args: Any, **kwargs: Any) -> Any:
            raise error

        with autolog.enabled(self.subject.name, sink=sink, log_code=False, artifact_limit=1):
            monkeypatch.setattr(Run, method, broken)
            trained = self.subject.train()
            assert (self.subject.result(trained), self.subject.evaluate(trained)) == expected
            monkeypatch.undo()
            assert not guard.inside_observer()
            self.subject.train(2.0)
        assert expected_faults or method in ("staged_artifact", "note")
        assert len(sink.runs) <= 2, "what an outer training contains is never a run of its own"
        assert self.subject.strength_of(sink.runs[-1]) == 2.0
        assert sink.runs[-1].status == "finished"
        autolog.finish()  # whose end was lost is left open, until here
        assert all(run.status == "finished" for run in sink.runs)

    @pytest.mark.parametrize("how", ["raises", "returns a wrong type"])
    @pytest.mark.parametrize(
        "where",
        [
            "autolog.capture.params:sanitize",
            "autolog.capture.params:metric",
            "autolog.core.run:label",
            "autolog.capture.datasets:describe",
            "autolog.capture.datasets:fingerprint",
            "autolog.capture.evaluation:classification",
            "autolog.capture.model:dump",
            "autolog.capture.model:summary",
            "autolog.sinks.memory:MemorySink.write",
            "autolog.sinks.memory:MemorySink.stage",
            "autolog.sinks.memory:MemorySink.writer_seconds",
            "autolog.sinks.memory:MemorySink.url",
        ],
    )
    def test_a_broken_capture_or_sink_changes_nothing(
        self,
        sink: MemorySink,
        monkeypatch: pytest.MonkeyPatch,
        expected_faults: list[guard.Fault],
        where: str,
        how: str,
    ) -> None:
        bare = self.subject.train()
        expected = self.subject.result(bare), self.subject.evaluate(bare)
        hit: list[str] = []

        def broken(*args: Any, **kwargs: Any) -> Any:
            hit.append(where)
            if how == "raises":
                raise RuntimeError("ours")
            return object()

        module, _, path = where.partition(":")
        owner: Any = importlib.import_module(module)
        *classes, name = path.split(".")
        for part in classes:
            owner = getattr(owner, part)
        with autolog.enabled(self.subject.name, sink=sink, log_code=False, budget=1e9):
            self.subject.train()  # what is imported at the first call is imported before it is broken
            monkeypatch.setattr(owner, name, broken)
            trained = self.subject.train()
            assert (self.subject.result(trained), self.subject.evaluate(trained)) == expected
            monkeypatch.undo()
            assert not guard.inside_observer()
            sink.clear()
            self.subject.train(2.0)
        assert hit or where.endswith((":metric", ".url")), "nothing was broken"
        (after,) = sink.runs
        assert self.subject.strength_of(after) == 2.0
        assert after.status == "finished"
        autolog.finish()

    def assert_whole(self, runs: list[MemoryRun]) -> None:
        assert all(run.status == "finished" for run in runs)
        assert all(run.config["model"] and run.config["data/train"] for run in runs)
        assert all(run.artifacts for run in runs)
        assert len({run.id for run in runs}) == len(runs)
