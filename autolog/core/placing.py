"""Which run a training belongs to.

In this order: the run given by hand; the innermost autolog run open in this context; the Trackio run that the
user opened (adopted, never finished by us); a new run. In a run that somebody else opened the first training
writes in place (it claims the run), each later one becomes a child of it. A run that a training opened is
claimed by it: what trains inside, in a callback or for a metric, is below it, or with ``Settings.nested`` off
not recorded. Only an estimator may be a wrapper around the training of another framework, which is then the
same training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autolog.core import hooked, opening, resuming
from autolog.core import settings as settings_module
from autolog.core.adopting import adopted_run
from autolog.core.current import innermost, set_trained_here
from autolog.core.opening import open_run, silent_run
from autolog.core.recording import Recording
from autolog.core.resuming import Checkpoint
from autolog.core.settings import Settings, destination_of
from autolog.core.training import Training, bind_run, find_run, loop_of
from autolog.process import guard
from autolog.process.guard import shield
from autolog.sinks.identity import SCHEMA

__all__ = ["begin_training"]

TAKE_OVER_SECONDS = 2.0  # that a training waits for at most whoever delivers the journal of its last process


def begin_training(
    subject: Any,
    name: str,
    *,
    framework: str | None,
    given: Recording | None = None,
    resume: Checkpoint | None = None,
    shared_id: str | None = None,
    suggested: Mapping[str, str] | None = None,
    may_wrap: bool = False,
) -> Training:
    """The run for a training that begins: see the top of this file for the order. A loop of it is over.

    Args:
        subject: the estimator, model, trainer: later calls on it find the run by it.
        name: what its run is called before its id: see :func:`autolog.capture.titles.title`.
        framework: whose training it is, as the catalogue names it. None: no hook is needed to record it.
        given: a run that the user gave by hand.
        resume: where the training saves itself. If there is something to go on from, and the run that saved
            it is known and has nobody any more, it goes on in that run; in a run of the user's never.
        shared_id: of a run that several processes have in common, if it is in nobody else's.
        suggested: project, run name and Space that the framework's own arguments name: for a run of its own,
            where the settings say nothing.
        may_wrap: whether another framework's training inside may be this very one: a wrapper's.
    """
    if (loop := loop_of(find_run(subject))) is not None:
        loop.end()
    training = _place_for_training(name, given, resume, shared_id, suggested or {})
    if framework is not None and not may_wrap:
        training.run.claim()
    training.run.is_training = True
    set_trained_here(training.run)
    guard.charge(training.run)
    if framework is not None:
        hooked.is_of(training.run, framework)
    bind_run(subject, training.run)
    if resume is not None and training.owns and training.run.parent is None:
        with shield("remembering where a training could go on"):
            resuming.remember(resume, training.run)
            training.checkpoint = resume
    return training


def _place_for_training(
    name: str,
    given: Recording | None,
    resume: Checkpoint | None,
    shared_id: str | None,
    suggested: Mapping[str, str],
) -> Training:
    inner = innermost()
    outer = inner if given is None or (inner is not None and inner.is_below(given)) else given
    outer = outer or adopted_run()
    if outer is None:
        settings = settings_module.current().filled(**suggested)
        run = _gone_on_with(resume, settings) if resume is not None and resume.exists else None
        run = run or open_run(by_user=False, subject=name, shared_id=shared_id, settings=settings)
        return Training(run, owns=True)
    # Of several workers each would take itself for the first one, unless the run was given to it.
    if (outer is given or outer.is_of_this_process) and outer.claim():
        return Training(outer, owns=False)
    is_inside = not outer.opened_by_user and (outer.is_training or loop_of(outer) is not None)
    if is_inside and not outer.settings.nested:
        return Training(silent_run(), owns=True)
    child = open_run(suggested.get("run_name"), parent=outer, by_user=False, subject=name)
    return Training(child, owns=True)


def _gone_on_with(checkpoint: Checkpoint, settings: Settings) -> Recording | None:
    """The run that a checkpoint is of, open again; None if there is none, or it is somebody's."""
    from autolog.sinks.takeover import take_over

    with shield("going on with a run"):
        left = resuming.left_at(checkpoint)
        project = settings.project or settings_module.default_project()
        if left is None or settings.sink != "trackio" or settings_module.disabled_by_environment():
            return None
        is_elsewhere = (left.run.project, left.run.destination) != (project, destination_of(settings))
        if is_elsewhere or left.is_going_on:
            return None
        config: dict[str, Any] | None = {}  # of this process delivery knows it
        if not left.is_of_this_process:
            config = take_over(Path(left.journal), left.run.id, TAKE_OVER_SECONDS)
        if config is None:
            return None
        identity = replace(left.run, joined=False, resumed=left.run.resumed + 1, schema=SCHEMA)
        run = opening.make(identity, settings, tags=config.get("tags", []))
        if config:
            run.write("config", values=config)
        run.put({"status": "running", "resumed": identity.resumed, "error": None})
        opening.begin(run, is_told=True)
        return run
    return None
