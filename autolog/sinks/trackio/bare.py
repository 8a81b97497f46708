"""Trackio's own run beside one of ours, of the same id and name: for what only Trackio can do.

Artifacts have to come back with their version, so they are stored at once, as ``trackio.Run`` stores them.
The run here logs nothing by itself, has no thread, and asks the Hub for nobody's name.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from autolog.sinks.identity import Identity
from autolog.sinks.trackio.remote import REQUEST_SECONDS, named_space

__all__ = ["alert_elsewhere", "alert_in_words", "bare_artifact", "bare_run", "parts_of"]


def bare_run(run: Identity, token: str | None) -> Any:
    """A ``trackio.Run`` that stands for this run of ours.

    Raises:
        OSError: the server or Space does not answer.
    """
    kind, where = run.destination
    client = None
    if kind == "space":
        where = named_space(where, token)
    if kind != "local":
        from trackio.remote_client import RemoteClient

        try:
            client = RemoteClient(
                where,
                hf_token=_hub_token(token) if kind == "space" else None,
                write_token=token if kind == "server" else None,
                verbose=False,
                httpx_kwargs={"timeout": REQUEST_SECONDS},
            )
        except Exception as error:
            raise ConnectionError(str(error)) from error
    made: Any = _kind()(
        url=where or None,
        project=run.project,
        client=client,
        name=run.name,
        run_id=run.id,
        group=run.group,
        space_id=where if kind == "space" else None,
        server_base_url=where if kind == "server" else None,
        write_token=token if kind == "server" else None,
        existing_runs=[],  # what it would ask the place for to find a name, and the last step
        initial_last_step=0,
    )
    made.hub_token = token
    made._config_logged = True  # ours is written by ourselves
    return made


@functools.cache
def _kind() -> Any:
    from trackio import Run

    class Bare(Run):  # type: ignore[misc]
        hub_token: str | None = None

        def _start_background_thread(self, *args: Any, **kwargs: Any) -> bool:
            return False

        def _get_username(self) -> None:
            return None

        def _hf_token_for_remote(self) -> str | None:
            return _hub_token(self.hub_token) if self._space_id else None

    return Bare


def _hub_token(token: str | None) -> str | None:
    import huggingface_hub

    return token or huggingface_hub.get_token()


def bare_artifact(what: Any, name: str | None, kind: str | None) -> Any:
    """What ``trackio.Run.log_artifact`` makes of a path; an ``Artifact`` is itself.

    Raises:
        ValueError: as Trackio has it: no such file, no name for it.
    """
    from trackio import Artifact

    if isinstance(what, Artifact):
        return what
    path = Path(what)
    artifact = Artifact(name=name or path.name, type=kind or "unspecified")
    (artifact.add_dir if path.is_dir() else artifact.add_file)(path)
    return artifact


def parts_of(artifact: Any) -> dict[str, Any]:
    """What a record says of an artifact that is not logged yet."""
    return {
        "name": artifact.name,
        "type": artifact.type,
        "description": artifact.description,
        "files": {inside: path for path, inside in artifact._pending_files},
        "references": {inside: uri for inside, uri, *_ in artifact._pending_references},
        "metadata": artifact.metadata,
    }


def alert_in_words(title: str, text: str | None, level: str, step: int) -> str:
    """What ``trackio.alert`` prints."""
    from trackio.alerts import AlertLevel, format_alert_terminal

    line: str = format_alert_terminal(AlertLevel(level), title, text, step)
    return line


def alert_elsewhere(
    run: Identity, url: str, title: str, text: str | None, level: str, step: int, at: str
) -> None:
    """Send an alert to a webhook, as ``trackio.alert`` does. It waits for an answer."""
    from trackio import alerts

    least = alerts.resolve_webhook_min_level(os.environ.get("TRACKIO_WEBHOOK_MIN_LEVEL"))
    as_level = alerts.AlertLevel(level)
    if alerts.should_send_webhook(as_level, least):
        alerts.send_webhook(url, as_level, title, text, run.project, run.name, step, at)
