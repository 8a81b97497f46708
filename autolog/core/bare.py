"""What a user calls of Trackio's own run beside logging: artifacts, saved files, alerts sent elsewhere.

Artifacts come back with their version, so Trackio stores them at once. A server that does not answer gets
them later, from the journal; then nobody knows their version yet.
"""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from autolog.capture.params import label
from autolog.core import outlet
from autolog.core.recording import Recording
from autolog.process import threads
from autolog.sinks.identity import Destination
from autolog.sinks.place import is_transient

__all__ = ["alert", "bare_run_of", "link_artifact", "log_artifact", "queue_upload", "use_artifact"]

LEVELS = ("info", "warn", "error")
AGAIN_SECONDS = 30.0  # until a server that did not answer is asked again

_bare: WeakKeyDictionary[Recording, tuple[int, Any]] = WeakKeyDictionary()  # a fork takes no connection along
_away: dict[Destination, float] = {}  # since when, by the monotonic clock


def bare_run_of(run: Recording) -> Any:
    """The ``trackio.Run`` that stands for a run of ours, or the user's own that it is.

    Raises:
        OSError: the server or Space does not answer.
        NotImplementedError: this Trackio's run is not as we know it.
    """
    if run.ambient is not None:
        return run.ambient.itself
    here, bare = _bare.get(run, (0, None))
    if here != os.getpid():
        if time.monotonic() - _away.get(run.destination, -AGAIN_SECONDS) < AGAIN_SECONDS:
            raise ConnectionError(f"{run.destination[1]} did not answer a moment ago. Try again in a minute")
        from autolog.sinks.trackio.bare import bare_run

        try:
            bare = bare_run(run.identity, outlet.token_of(run.destination))
        except OSError:
            _away[run.destination] = time.monotonic()
            raise
        except Exception as error:  # a Trackio that has no such run any more
            raise NotImplementedError(
                f"the run of this Trackio is not the one that autolog knows ({error}). "
                "Call it on a run that trackio.init returns."
            ) from error
        _bare[run] = os.getpid(), bare
    return bare


# Artifacts -------------------------------------------------------------------------------------------


def log_artifact(
    run: Recording,
    what: Any,
    name: str | None = None,
    type: str | None = None,
    aliases: list[str] | None = None,
    overwrite: bool = False,
) -> Any:
    """As ``trackio.Run.log_artifact``; where nothing can be stored at once, the artifact has no version yet.

    Raises:
        ValueError, TypeError, RuntimeError: what Trackio does not take.
    """
    from autolog.sinks.trackio.bare import bare_artifact, parts_of

    more = {"overwrite": overwrite} if overwrite else {}
    if _is_stored(run):
        bare = None
        with contextlib.suppress(OSError, NotImplementedError):
            bare = bare_run_of(run)
        try:
            if bare is not None:
                return bare.log_artifact(what, name=name, type=type, aliases=aliases, **more)
        except Exception as error:
            if not is_transient(error):
                raise
    artifact = bare_artifact(what, name, type)
    if overwrite:
        run.note(f"artifact {artifact.name}", "its earlier versions are kept: it is stored later")
    run.artifact_of_parts(**parts_of(artifact), aliases=aliases or ())
    return artifact


def use_artifact(run: Recording, what: Any, type: str | None = None) -> Any:
    """As ``trackio.Run.use_artifact``; what is on its way there is waited for.

    Raises:
        ValueError: there is none, or it is of another type.
    """
    try:
        return bare_run_of(run).use_artifact(what, type=type)
    except ValueError:
        if not _is_stored(run) or not outlet.deliver(time.monotonic() + run.settings.finish_timeout):
            raise
    return bare_run_of(run).use_artifact(what, type=type)


def link_artifact(run: Recording, artifact: Any, target_path: str, *args: Any, **kwargs: Any) -> Any:
    """As ``trackio.Run.link_artifact``."""
    if not _is_stored(run):
        return artifact
    return bare_run_of(run).link_artifact(artifact, target_path, *args, **kwargs)


def queue_upload(
    run: Recording,
    path: Any,
    step: int | None = None,
    relative_path: str | None = None,
    use_run_name: bool = True,
) -> None:
    """What ``trackio.save`` asks of the current run for each file."""
    if not run.records:
        return
    if run.is_local or use_run_name:
        bare_run_of(run)._queue_upload(path, step, relative_path, use_run_name)
        return
    path = Path(path)
    run.write("media", step=run.last_step, key=path.name, path=str(path), folder=relative_path or ".")


def _is_stored(run: Recording) -> bool:
    """Whether it is a run in Trackio: not in memory, and not switched off."""
    return run.records and run.settings.sink == "trackio"


# Alerts ----------------------------------------------------------------------------------------------


def alert(
    run: Recording,
    title: str,
    text: str | None = None,
    level: Any = "warn",
    step: int | None = None,
    webhook_url: str | None = None,
    *,
    is_printed: bool = False,
) -> None:
    """Record something a person should see, and send it where Trackio would send it.

    Args:
        level: ``info``, ``warn``, ``error``, or Trackio's ``AlertLevel``.
        webhook_url: None: that of ``TRACKIO_WEBHOOK_URL``.
        is_printed: whether it is printed, too, as ``trackio.alert`` does.

    Raises:
        ValueError: another level.
    """
    level = str(getattr(level, "value", level))
    if level not in LEVELS:
        raise ValueError(f"alert: level={level!r}; expected one of {', '.join(LEVELS)}.")
    run.alert(title, text, level=level, step=step)
    if not run.records:
        return
    at = run.last_step if step is None else step
    if is_printed:
        from autolog.sinks.trackio.bare import alert_in_words

        print(alert_in_words(title, text, level, at))
    url = webhook_url or os.environ.get("TRACKIO_WEBHOOK_URL")
    if url:
        from autolog.sinks.trackio.bare import alert_elsewhere

        told = run.identity, url, label(title), text, level, at, datetime.now(UTC).isoformat()
        threads.start("autolog-webhook", alert_elsewhere, *told)
