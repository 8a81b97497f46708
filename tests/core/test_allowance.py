"""What an optional capture may cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import autolog
from autolog import MemorySink
from autolog.core import allowance as allowance_module
from autolog.core.allowance import ABORT_SECONDS, UNASKED, Allowance
from autolog.core.recording import Recording
from autolog.core.run import recording_of


def run_with(budget: float) -> tuple[Recording, MemorySink]:
    sink = MemorySink()
    with autolog.enabled(sink=sink, log_code=False, budget=budget), autolog.run() as run:
        return recording_of(run), sink


def steps_of(allowance: Allowance, several: range) -> list[int]:
    return [step for step in several if not allowance.is_used_up(step)]


@pytest.mark.parametrize(
    ("budget", "part", "steps"),
    [
        (0.05, UNASKED, [1, 11, 21]),
        (0.05, 1.0, [*range(1, 31)]),
        (0.5, UNASKED, [*range(1, 31)]),
        (0.01, 1.0, [1, 6, 11, 16, 21, 26]),
        (0.0, 1.0, [1]),
    ],
)
def test_which_steps_are_taken_follows_from_the_settings(
    budget: float, part: float, steps: list[int]
) -> None:
    allowance = Allowance(run_with(budget)[0], part)
    assert steps_of(allowance, range(1, 31)) == steps
    assert allowance.left_out == 30 - len(steps)


def test_where_rows_are_further_apart_each_has_it() -> None:
    assert steps_of(Allowance(run_with(0.05)[0], UNASKED), range(50, 500, 50)) == [*range(50, 500, 50)]


def test_what_is_asked_twice_at_a_step_has_one_answer() -> None:
    allowance = Allowance(run_with(0.05)[0], UNASKED)
    assert [allowance.is_used_up(step) for step in (1, 1, 2, 2, 11, 11)] == [False] * 2 + [True] * 2 + [
        False
    ] * 2
    assert allowance.left_out == 1


def test_a_training_that_begins_anew_is_asked_anew() -> None:
    allowance = Allowance(run_with(0.05)[0], UNASKED)
    assert not allowance.is_used_up(100)
    assert not allowance.is_used_up(1)


def test_the_clock_ends_what_has_taken_far_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(allowance_module, "time", SimpleNamespace(perf_counter=lambda: now))
    run, sink = run_with(1.0)
    allowance = Allowance(run, 1.0)
    with pytest.raises(ValueError, match="his"), allowance:
        now = ABORT_SECONDS + 10.0  # also if it fails
        raise ValueError("his")
    now = 100.0
    assert not allowance.is_used_up(1), "a tenth of the time is what the budget allows"
    allowance.spent = 200.0
    assert [allowance.is_used_up(step) for step in (2, 30)] == [True, True]
    allowance.note("vitals/grad_norm")
    assert (
        sink.runs[-1]
        .config["autolog/notes"]["vitals/grad_norm"]
        .startswith("aborted at step 2: it had taken 200")
    )


@pytest.mark.parametrize(("steps", "told"), [(2, "1 step"), (3, "2 steps")])
def test_what_was_left_out_is_said_with_what_brings_it_back(steps: int, told: str) -> None:
    sink = MemorySink()
    notes: list[Any] = []
    for budget in (0.05, 0.5):
        with autolog.enabled(sink=sink, log_code=False, budget=budget), autolog.run() as run:
            allowance = Allowance(recording_of(run), UNASKED)
            steps_of(allowance, range(steps))
            allowance.note("vitals/grad_norm")
        notes.append(sink.runs[-1].config.get("autolog/notes"))
    them = "it" if steps == 2 else "all of them"
    assert notes == [{"vitals/grad_norm": f"left out at {told}; Settings.budget=0.5 records {them}"}, None]
