"""Which runs end with a report, and when: it is made where pictures are drawn.

A run that lasted two seconds or more has one; of shorter ones the last and the best of a program. A child has
none, and so has each of a study's thousand trials. What is evaluated after a run's end belongs to it, so a
report is asked for when another run begins, or the program ends.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from autolog.capture.summary import is_better_small, result_of
from autolog.core import started
from autolog.process import forks
from autolog.process.guard import shield

if TYPE_CHECKING:
    from autolog.core.recording import Recording

__all__ = ["ask", "ask_for_those_that_ended", "ended"]

LEAST_SECONDS = 2.0
BY = "autolog.review.report.made:parts_of"

_ended: dict[str, Recording] = {}  # that may still be evaluated
_last: Recording | None = None  # of those that were too short: one of them may still be the last
_best: dict[str, Recording] = {}  # of those, by project
_lock = threading.RLock()  # a signal handler may come back to it


def ended(run: Recording) -> None:
    """A run has ended."""
    if _may_have_one(run):
        with _lock:
            _ended[run.id] = run


def ask(run: Recording) -> None:
    """Have this run's report made, from what is recorded by now."""
    with shield("asking for a report"):
        to = list(run.destination)
        given = {"project": run.project, "run": run.id, "to": to}
        run.write("made", step=run.last_step, key="report", by=BY, given=given, comes_last=True)


def ask_for_those_that_ended(*, is_over: bool) -> None:
    """Whoever has ended was evaluated by now, if ever.

    Args:
        is_over: whether no other run follows: the program ends, or somebody waits for all to arrive.
    """
    global _last
    if not (_ended or _last):
        return
    with _lock:
        runs = list(_ended.values())
        _ended.clear()
        for run in runs:
            if run.seconds >= LEAST_SECONDS or run.wants_report:
                ask(run)
                _last = None
            else:
                _last = run
                _best[run.project] = _better(_best.get(run.project), run)
        if is_over:
            several = {run.id: run for run in (*_best.values(), _last) if run is not None}
            for run in several.values():
                ask(run)
            _last = None
            _best.clear()


def _may_have_one(run: Recording) -> bool:
    """Whether there is somebody who can read it back: a Space asks for a token to be read."""
    is_readable = run.settings.sink == "trackio" and run.destination[0] in ("local", "server")
    is_wanted = run.wants_report or (run.settings.report and run.parent is None)
    is_whole = not run.identity.adopted and not run.identity.shared
    return is_wanted and run.records and is_readable and is_whole and not started.is_worker()


def _better(one: Recording | None, other: Recording) -> Recording:
    """The better one by the first number that both are about; without one the first."""
    if one is None:
        return other
    old, new = result_of(one.latest), result_of(other.latest)
    key = next(iter(old), None)
    if key is None or key not in new:
        return other if not old and new else one
    step = float(new[key]) - float(old[key])
    return other if (step < 0 if is_better_small(key) else step > 0) else one


def _forget_in_child() -> None:
    """What the parent's runs have come to is the parent's to say."""
    global _lock, _last
    _lock = threading.RLock()
    _last = None
    _ended.clear()
    _best.clear()


forks.when_forked("reports", in_child=_forget_in_child)
