"""What another process is told, so that what it trains is recorded as it is here."""

from __future__ import annotations

import functools
import logging
import pickle
from typing import Any

from autolog.core import current, ending, surroundings
from autolog.core import settings as settings_module
from autolog.core.recording import Recording
from autolog.core.writer import as_values
from autolog.process.context import Context, our_context, watched

__all__ = ["Told", "word"]

logger = logging.getLogger("autolog")


Told = tuple[dict[str, bool], dict[str, Any], Any, frozenset[str], bytes | None, bytes | None, bool]
"""What a word says, in the classes of Python alone, so that nothing is imported to hear it.

In this order: the frameworks that are recorded, see :func:`autolog.core.catalogue.turned_on`; the settings in
force, but the sink and the write token; the program that runs here, since the other process works for it; the
frameworks of which an outer call is being recorded here, so that inner ones are not; pickled once more, what
is known of the program, and the :class:`autolog.core.writer.Ticket` of the run that is open here; and whether
the process works for many callers.
"""


def word(
    frameworks: dict[str, bool], context: Context | None = None, *, is_shared: bool = False
) -> bytes | None:
    """What another process is told of this context, or of another one.

    Args:
        is_shared: whether the process works for many callers, of whom each tells it of their own run.

    Returns:
        ``Told``, pickled; None: what is trained there cannot be recorded where it is here.
    """
    context = our_context() if context is None else context
    run = None if is_shared else current.innermost_of(context)
    settings = settings_module.current() if run is None else run.settings
    outer = dict(context)[watched]
    if settings.sink != "trackio":
        if not outer:  # else what is trained there is part of a run that is kept here
            _say_unreachable(run)
        return None
    if run is not None and not run.records:
        return None
    ending.expect_others()
    values = as_values(settings)
    values["project"] = values["project"] or settings_module.default_project()  # as it is named here
    told: Told = (
        frameworks,
        values,
        surroundings.program_here(),
        frozenset() if is_shared else outer,
        surroundings.known_here(),
        None if run is None else pickle.dumps(run.ticket()),
        is_shared,
    )
    return pickle.dumps(told)


def _say_unreachable(run: Recording | None) -> None:
    what = "trainings in other processes"
    why = "Settings.sink keeps what is recorded in this process alone; sink='trackio' reaches others"
    if run is not None:
        run.note_lost(what, why)
    else:
        _warn_once(f"autolog: {what} are not recorded: {why}.")


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)
