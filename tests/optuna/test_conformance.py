"""Optuna keeps the promises: what is trained is a study, its hyperparameter the pruner's limit."""

from __future__ import annotations

import inspect
from typing import Any

import optuna
import pytest

import autolog
from autolog.core import live
from autolog.optuna.optimize import _Inside, _Optimizing
from autolog.optuna.recorder import StudyRecorder, TrialRecorder
from autolog.optuna.table import BestSoFar
from autolog.process import guard
from autolog.review.recorded import RecordedRun
from autolog.sinks.memory import MemorySink
from tests.conformance.base import Autolog, Conformance, Kept, Subject, Tracker
from tests.conformance.breaking import WAYS, breaking
from tests.conformance.by_run import ByRun

optuna.logging.set_verbosity(optuna.logging.ERROR)

TRIALS = 12
CLASSES = (StudyRecorder, TrialRecorder, BestSoFar, _Optimizing, _Inside)


class Optuna(Subject):
    name = "optuna"
    strength = "pruner/upper"
    program = """
        import optuna

        def objective(trial):
            if trial.number == 3:
                print("ready", flush=True)
            time.sleep(0.05)
            return trial.suggest_float("x", -1, 1) ** 2

        optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=3.0)).optimize(objective)
    """

    def train(self, strength: float = 1.0, fail: BaseException | None = None) -> Any:
        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", -1, 1)
            kind = trial.suggest_categorical("kind", ["a", "b"])
            if trial.number % 4 == 1:
                trial.report(2 * x, 0)
                if trial.should_prune():
                    raise optuna.TrialPruned
            if trial.number == 5 and fail is not None:
                raise fail
            trial.set_user_attr("kind", kind)
            return x**2 + (kind == "a")

        pruner = optuna.pruners.ThresholdPruner(upper=strength)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=pruner)
        study.optimize(objective, n_trials=TRIALS, n_jobs=1)
        return study

    def result(self, trained: Any) -> bytes:
        return repr([(t.state, t.params, t.values, t.user_attrs) for t in trained.trials]).encode()

    def evaluate(self, trained: Any) -> float:
        """Go on with the study, which finds nothing better: in its run."""
        best = trained.best_value
        trained.optimize(lambda trial: best, n_trials=2)
        return float(trained.best_value)

    def fail(self, error: BaseException) -> None:
        self.train(fail=error)


class OfStudies(Autolog):
    """What the promises ask for, of a study: its run without its trials', the best value for the accuracy."""

    def runs(self) -> list[Kept]:
        found = super().runs()
        trials = {run.id for run in self.sink.runs if "trial" in run.config}
        values = {run.id: run.metrics.get("objective/value/best") for run in self.sink.runs}
        pictures = {run.id: "history" in run.charts for run in self.sink.runs}
        tables = {run.id: ["table"] * ("trials" in run.tables) for run in self.sink.runs}
        for run in found:
            run.accuracy, run.has_confusion_matrix = values[run.id], pictures[run.id]
            run.artifacts = tables[run.id]
        return [run for run in found if run.id not in trials]


class TestOptuna(Conformance):
    subject = Optuna()

    @pytest.fixture
    def tracker(self) -> Tracker:
        return OfStudies()

    def test_evaluation_goes_on_in_the_run(self, recorded: Tracker) -> None:
        first, second = self.subject.train(1.0), self.subject.train(0.3)
        values = [self.subject.evaluate(second), self.subject.evaluate(first)][::-1]
        autolog.finish()
        runs = recorded.runs()
        assert [run.accuracy for run in runs] == pytest.approx(values)
        assert [run.metrics["trials/complete"] for run in runs] == [
            sum(trial.state.name == "COMPLETE" for trial in study.trials) for study in (first, second)
        ]

    def test_held_out_evaluation_parameters_and_model_are_kept(self, recorded: Tracker) -> None:
        study = self.subject.train(2.0)
        (run,) = recorded.runs()
        assert run.accuracy == study.best_value
        assert run.has_confusion_matrix  # the history, here
        assert self.strengths([run]) == [2.0]
        assert isinstance(recorded, OfStudies)
        (kept,) = [one for one in recorded.sink.runs if one.id == run.id]
        by_number = {row["trial"]: row for row in kept.tables["trials"]}
        assert [by_number[trial.number]["params/kind"] for trial in study.trials] == [
            trial.params["kind"] for trial in study.trials
        ]
        assert kept.config["best/params"] == study.best_params

    def test_a_run_holds_what_it_must(self, sink: MemorySink) -> None:
        with autolog.enabled("optuna", sink=sink, log_code=False, budget=1e9):
            self.subject.train()
        run = sink.runs[0]
        for key in ("framework", "framework/version", "sampler", "search_space", "autolog/overhead_seconds"):
            assert run.config[key]
        assert {"history", "importances", "slice", "parallel_coordinates", "timeline"} <= set(run.charts)
        assert "intermediate_values" in run.charts
        assert run.config["framework"] == "optuna"

    def assert_the_next_is_whole(self, when: str) -> None:
        sink = MemorySink()
        with autolog.enabled("optuna", sink=sink, log_code=False):
            study = self.subject.train(2.0)
        run = sink.runs[0]
        assert run.status == "finished", when
        assert float(run.config["params"][self.subject.strength]) == 2.0, when
        assert len(run.tables["trials"]) == len(study.trials) == TRIALS, when
        assert not [one for one in sink.runs if "autolog/faults" in one.config], when
        autolog.finish()
        for left in live.live_runs():  # whose end was broken: open until the process ends
            left.end("failed")

    @pytest.mark.exhaustive
    @pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
    def test_a_fault_in_any_method_changes_nothing(
        self, cls: type, expected_faults: list[guard.Fault]
    ) -> None:
        bare = self.train_and_evaluate()
        passed = set()
        for name in [name for name, thing in vars(cls).items() if inspect.isfunction(thing)]:
            for way in WAYS:
                sink = MemorySink()
                with breaking(f"{cls.__module__}:{cls.__name__}.{name}", way) as calls:
                    assert self.record(sink) == bare, f"{name} {way}"
                if not calls:
                    continue
                passed.add(name)
                assert not guard.inside_observer(), f"{name} {way}"
                if way == "raises":
                    assert expected_faults or any("ours" in repr(run.config) for run in sink.runs), name
                expected_faults.clear()
                autolog.finish()
                for left in live.live_runs():
                    left.end("failed")
                self.assert_the_next_is_whole(f"after {name} {way}")
        assert passed
        print(f"\n{cls.__name__}: {', '.join(sorted(passed))}")


class TestByRun(ByRun):
    subject = Optuna()

    def of_trainings(self, runs: list[RecordedRun]) -> list[RecordedRun]:
        return [run for run in runs if "trial" not in run.config]

    def accuracy_of(self, run: RecordedRun) -> float:
        return run.metrics["objective/value/best"].last

    def has_kept_it(self, run: RecordedRun) -> bool:
        return "trials" in run.tables
