"""What is printed: once what is recorded and where it lies, and of each run one line with its result.

To stderr: the user's own output stays as it was. In a notebook each cell that trains has one display instead,
which is updated in place, see :mod:`autolog.process.notebook`. With ``Settings.quiet`` nothing is said.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autolog.core import settings as settings_module
from autolog.core.settings import Settings, default_project, destination_of
from autolog.process import forks, notebook, voice
from autolog.process.guard import shield

if TYPE_CHECKING:
    from autolog.core.recording import Recording
    from autolog.sinks.identity import Destination

__all__ = ["begun", "delivered", "ended", "recording", "tell_of_those_that_ended"]

_where: set[str] = set()  # what has been said already
_ended: dict[str, Recording] = {}  # of which nothing was said yet: they may still be evaluated
_lock = threading.RLock()  # a signal handler may come back to it


def recording(frameworks: Mapping[str, bool], settings: Settings) -> None:
    """These frameworks are recorded from now on.

    Args:
        frameworks: and whether each is installed.
    """
    if settings.quiet or settings.sink != "trackio":
        return
    installed = ", ".join(name for name, is_installed in frameworks.items() if is_installed)
    if installed:
        project = settings.project or default_project()
        _say_once(f"recording {installed} into project {project} {_place(settings)}")
    else:
        _say_once(f"nothing is recorded by itself: none of {', '.join(frameworks)} is installed")


def begun(run: Recording, place: str | None) -> None:
    """A run has begun that nobody above it tells of.

    Args:
        place: where a person looks at it; None: nowhere.
    """
    tell_of_those_that_ended()
    if run.records:
        voice.run_begun()
    run.is_told = run.records and not run.settings.quiet and place is not None
    if not run.is_told:
        return
    where = f"into project {run.project} {_place(run.settings, run.destination)}"
    if notebook.is_here():
        notebook.show(run.id, f"recording {run.name} {where}", _link(run, place))
    elif not run.is_local or _dashboard_answers():
        _say(f"{run.name} in project {run.project} -> {place}")
    elif not _where:
        _say_once(f"recording {where}")


def ended(run: Recording) -> None:
    """A run has ended. What is evaluated after its end is its result: it is told of a little later.

    In a notebook at once, and again whenever a cell ends: there another line takes the place of the first.
    """
    if not run.is_told:
        return
    with _lock:
        _ended[run.id] = run
    if notebook.is_here():
        _show_end(run)


def tell_of_those_that_ended() -> None:
    """Whoever has ended was evaluated by now, if ever: another run begins, or the program ends."""
    if not _ended:
        return
    with _lock:
        runs = [run for run in _ended.values() if run.status != "running"]  # that one went on, and ends again
        _ended.clear()
    for run in runs:
        with shield("what is printed of a run"):
            if notebook.is_here():
                _show_end(run, is_last=True)
            else:
                _say(_line_of(run))


def delivered(has_arrived: bool) -> None:
    """All was to be delivered now. In a notebook the cell shows what has arrived, else nothing is said."""
    in_force = settings_module.in_force()
    if not notebook.is_here() or (in_force is not None and in_force.quiet):
        return
    from autolog.core.outlet import so_far_in_words

    with shield("what is shown of a delivery"):
        if (said := so_far_in_words(has_arrived)) is not None:
            notebook.show("delivery", said)


def _show_end(run: Recording, *, is_last: bool = False) -> None:
    with shield("what is shown of a run"):
        link = _link(run, run.url)
        line = _line_of(run, is_linked=link is not None)
        notebook.change(run.id, line, link, is_last=is_last)


@notebook.when_cell_ends
def _show_ends() -> None:
    for run in list(_ended.values()):
        if run.status != "running":
            _show_end(run)


def _line_of(run: Recording, *, is_linked: bool = False) -> str:
    from autolog.capture.summary import result_of

    numbers = result_of(run.latest, run.main)
    result = ", ".join(f"{key} {float(value):.4g}" for key, value in numbers.items())
    line = f"{run.name} {run.status} in {_duration(run.seconds)}{f': {result}' if result else ''}"
    is_command = run.is_local and not is_linked
    return f"{line} · trackio show --project {shlex.quote(run.project)}" if is_command else line


def _link(run: Recording, place: str | None) -> str | None:
    """Where a click leads, if something answers there."""
    is_url = place is not None and place.startswith(("http://", "https://"))
    return place if is_url and (not run.is_local or _dashboard_answers()) else None


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _place(settings: Settings, destination: Destination | None = None) -> str:
    where = destination or destination_of(settings)
    if where[0] != "local":
        return f"on {where[1]}"
    from autolog.sinks.trackio.directory import data_directory

    return f"in {data_directory()}"


def _dashboard_answers() -> bool:
    """Whether something listens where ``trackio show`` does, on this machine."""
    import socket

    port = os.environ.get("GRADIO_SERVER_PORT", "7860")
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=0.05):
            return True
    except (OSError, ValueError):
        return False


def _say_once(text: str) -> None:
    if text not in _where:
        _where.add(text)
        _say(text)


def _say(text: str) -> None:
    if notebook.is_here():
        notebook.show(text, text)
    else:
        voice.say(text)


def _forget_in_child() -> None:
    """What the parent's runs have come to is the parent's to say."""
    global _lock
    _lock = threading.RLock()
    _ended.clear()


forks.when_forked("telling", in_child=_forget_in_child)
