"""Small studies, and what to look at in their runs."""

from __future__ import annotations

from typing import Any

import optuna
from sklearn.datasets import load_iris

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

X, y = load_iris(return_X_y=True)


def study(seed: int = 0, **more: Any) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed), **more)


def square(trial: optuna.Trial) -> float:
    return float(trial.suggest_float("x", -1, 1) ** 2)


def family(sink: MemorySink) -> tuple[MemoryRun, list[MemoryRun]]:
    """The study's run, and those right below it."""
    autolog.finish()
    first, *others = sink.runs
    assert not [run for run in sink.runs if "autolog/faults" in run.config]
    return first, [run for run in others if run.parent == first.id]


def column(run: MemoryRun, name: str) -> list[Any]:
    """A column of the table of trials, by trial."""
    return [row.get(name) for row in sorted(run.tables["trials"], key=lambda row: row["trial"])]
