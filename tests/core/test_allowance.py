"""What an optional capture may cost."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

import autolog
from autolog import MemorySink
from autolog.core import allowance as allowance_module
from autolog.core.allowance import LEAST_SECONDS, UNASKED, Allowance
from autolog.core.recording import Recording
from autolog.core.run import recording_of


def run_with(budget: float) -> tuple[Recording, MemorySink]:
    sink = MemorySink()
    with autolog.enabled(sink=sink, log_code=False, budget=budget), autolog.run() as run:
        return recording_of(run), sink


def test_it_is_used_up_by_what_was_spent_and_comes_again_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(allowance_module, "time", SimpleNamespace(perf_counter=lambda: now))
    run, _ = run_with(1.0)  # all of the training's time
    allowance = Allowance(run, UNASKED)
    assert not allowance.is_used_up()
    allowance.spent = UNASKED * LEAST_SECONDS + 0.002  # that a tenth of the time pays for
    assert allowance.is_used_up()
    now = 0.1
    assert not allowance.is_used_up()
    assert allowance.left_out == 1


def test_without_a_budget_there_is_what_is_there_at_once() -> None:
    allowance = Allowance(run_with(0.0)[0])
    allowance.spent = 0.9 * LEAST_SECONDS
    assert not allowance.is_used_up()
    allowance.spent = 1.1 * LEAST_SECONDS
    assert allowance.is_used_up()


def test_the_time_of_a_capture_counts_also_if_it_fails() -> None:
    allowance = Allowance(run_with(0.0)[0])
    try:
        with allowance:
            time.sleep(2 * LEAST_SECONDS)
            raise ValueError
    except ValueError:
        pass
    assert allowance.is_used_up()


def test_what_was_left_out_is_said_and_nothing_is_where_nothing_was() -> None:
    sink = MemorySink()
    notes: list[Any] = []
    for spent in (1.0, 0.0):
        with autolog.enabled(sink=sink, log_code=False, budget=0.0), autolog.run() as run:
            allowance = Allowance(recording_of(run))
            allowance.spent = spent
            allowance.is_used_up()
            allowance.note("grad_norm")
        notes.append(sink.runs[-1].config.get("autolog/notes"))
    assert notes == [{"grad_norm": "left out at 1 steps: they would pass the budget"}, None]
