"""A self-hosted Trackio server, or a Space: over Trackio's HTTP API."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autolog.process.apart import import_paths
from autolog.sinks import AlertRecord, ArtifactRecord, SystemRecord
from autolog.sinks.identity import Destination, Identity
from autolog.sinks.place import Config, Row
from autolog.sinks.trackio.directory import our_folder
from autolog.sinks.trackio.local import Local, manifest_of, media_file, shown
from autolog.sinks.trackio.rows import alert_entry, entry, metric_entries, recalled, stored_config

__all__ = ["REQUEST_SECONDS", "Remote", "known_space", "named_space", "prepare_space", "space_url"]

REQUEST_SECONDS = 10.0


class Remote(Local):
    """A self-hosted server or a Space, over Trackio's HTTP API."""

    def __init__(self, destination: Destination, token: Callable[[], str | None], private: bool):
        super().__init__()
        self._kind, self._where = destination
        self._ask_for_token = token
        self._private = private
        self._client_made: Any = None
        self._at_once = 2_000  # rows per request

    def _call(self, api_name: str, /, **arguments: Any) -> Any:
        """Ask the server.

        Raises:
            OSError: it is away, or does not let us in: all is kept, and tried again.
            Exception: it has read this, and does not take it.
        """
        client = self._client()
        try:
            return client.predict(api_name=api_name, hf_token=self._hf_token(), **arguments)
        except Exception as error:
            self._client_made = None  # the next try begins with a new connection
            raise self._understood(api_name, error) from error

    def _understood(self, api_name: str, error: Exception) -> Exception:
        """What an answer means. A proxy before a server that is away gives 404, 502 or a page of its own."""
        answer = getattr(error, "response", None)
        if answer is None:
            if isinstance(error, RuntimeError) and "does not support" in str(error):  # a 404
                if self._is_trackio():
                    return NotImplementedError(f"the server's Trackio knows no {api_name}: it is too old")
                return ConnectionError(f"{self._where} knows no {api_name}: is this a Trackio server?")
            return ConnectionError(str(error)) if isinstance(error, json.JSONDecodeError) else error
        try:
            said = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            said = ""
        if answer.status_code == 413:  # too large for a proxy: in parts it may pass
            return ValueError(f"{self._where} takes no request of this size")
        # Trackio answers 400 to what it checks, a write token among it, and 500 to any other fault.
        if said and answer.status_code in (400, 422, 500) and "write_token" not in said:
            return ValueError(said)
        return ConnectionError(said or str(error))

    @property
    def _token(self) -> str | None:
        """As it is known now: a wrong one may have been mended since the last try."""
        return self._ask_for_token()

    def _is_trackio(self) -> bool:
        import httpx

        try:
            base = self._where if self._kind == "server" else space_url(self._where)
            answer = httpx.get(f"{base}/version", timeout=REQUEST_SECONDS)
            return bool(answer.json().get("api_version"))
        except Exception:
            return False

    def _client(self) -> Any:
        if self._client_made is None:
            from trackio.remote_client import RemoteClient

            if self._kind == "server" and not self._token:
                raise PermissionError(
                    f"{self._where} needs a write token: put write_token into the URL, "
                    "or set TRACKIO_WRITE_TOKEN"
                )
            if self._kind == "space":
                self._where = named_space(self._where, self._token)
            try:
                if self._kind == "space":
                    self._prepare_space()
                self._client_made = RemoteClient(
                    self._where,
                    hf_token=self._hf_token(),
                    write_token=self._token if self._kind == "server" else None,
                    httpx_kwargs={"timeout": REQUEST_SECONDS},
                )
            except Exception as error:
                # Whatever it is called: nobody has been spoken to yet, so nothing has been refused.
                raise ConnectionError(str(error)) from error
        return self._client_made

    def _prepare_space(self) -> None:
        """Make the Space, private unless told otherwise, with a bucket that keeps its data."""
        if self._token is None:
            prepare_space(self._where, self._private)
            return
        # Trackio takes the Hub's token from its environment alone. In ours everybody would see it.
        program = "import sys; from autolog.sinks.trackio.remote import prepare_space; "
        program += "prepare_space(sys.argv[1], sys.argv[2] == 'True')"
        paths = os.pathsep.join(import_paths())
        done = subprocess.run(
            [sys.executable, "-c", program, self._where, str(self._private)],
            env={**os.environ, "HF_TOKEN": self._token, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ConnectionError(f"the Space {self._where}: {done.stderr.strip()[-300:]}")

    def _hf_token(self) -> str | None:
        if self._kind != "space":
            return None
        import huggingface_hub

        token: str | None = self._token or huggingface_hub.get_token()
        return token

    def note(self, run: Identity) -> str | None:
        return None

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        entries = metric_entries(run, rows)
        # A server keeps the first config of a request, so only one is sent: the last.
        entries[0]["config"] = None if config is None else stored_config(run, config)
        self._in_parts("/bulk_log", entries)

    def _in_parts(self, api_name: str, entries: list[dict[str, Any]]) -> None:
        """On a thin line a large request never ends in time: after each that did not, they are smaller."""
        while entries:
            part = entries[: self._at_once]
            try:
                self._call(api_name, logs=part)
            except Exception as error:
                if "Timeout" in type(error).__name__:
                    self._at_once = max(1, len(part) // 2)
                raise
            entries = entries[len(part) :]

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        entries = [{**entry(run, r), "metrics": r["values"], "log_id": r["id"]} for r in rows]
        self._in_parts("/bulk_log_system", entries)

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        self._call("/bulk_alert", alerts=[alert_entry(run, alert) for alert in alerts])

    def picture(self, run: Identity, step: int, name: str, page: str, caption: str | None) -> Any:
        # The same path here and there: the row refers to it, and the server stores it by its name.
        path = media_file(run, step, name, page)
        try:
            self.media(run, step, str(path))
        finally:
            path.unlink(missing_ok=True)
        return shown(path, caption)

    def media(self, run: Identity, step: int, path: str, folder: str | None = None) -> None:
        from gradio_client import handle_file

        of_run = folder is None
        upload = {
            "project": run.project,
            "run": run.name if of_run else None,
            "run_id": run.id if of_run else None,
            "step": step if of_run else None,
            "relative_path": folder,
            "uploaded_file": handle_file(path),
        }
        self._call("/bulk_upload_media", uploads=[upload])

    def artifact(self, run: Identity, record: ArtifactRecord) -> None:
        from gradio_client import handle_file
        from trackio import cas, references

        manifest = manifest_of(run.project, record)
        digests = [e["digest"] for e in manifest if not references.is_reference_entry(e)]
        answer = self._call("/check_artifact_blobs", project=run.project, digests=digests)
        missing = set(digests) - set((answer or {}).get("present", []))
        for digest in sorted(missing):
            blob = handle_file(str(cas.blob_path(run.project, digest)))
            upload = {"digest": digest, "uploaded_file": blob}
            self._call("/bulk_upload_artifact_blob", project=run.project, uploads=[upload])
        self._call(
            "/artifact_log",
            project=run.project,
            name=record["name"],
            type=record["type"],
            description=record.get("description"),
            metadata=record["metadata"],
            manifest=manifest,
            aliases=record["aliases"],
            run_name=run.name,
            run_id=run.id,
        )

    def config(self, run: Identity) -> Config | None:
        summary = self._client().predict(
            api_name="/get_run_summary", project=run.project, run=run.name, run_id=run.id
        )
        return recalled(run, (summary or {}).get("config"))


# A Space whose owner is known by a key only is "@<what has the key>/<name>" until the Hub says the name.

_owners: dict[str, str] = {}  # by the file that keeps it


def named_space(space: str, token: str | None) -> str:
    """A Space with its owner's name, which the Hub is asked for once, where the key alone is known.

    Raises:
        PermissionError: the key is not known here, or the Hub does not know it.
        ConnectionError: the Hub does not answer.
    """
    if not space.startswith("@"):
        return space
    known = known_space(space, token)
    if known is not None:
        return known
    if not token:
        raise PermissionError("the api_key that these records belong to is not known in this program")
    import huggingface_hub

    try:
        owner = str(huggingface_hub.HfApi().whoami(token=token)["name"])
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise PermissionError(f"the Hugging Face Hub does not take this api_key ({status})") from None
        said = f"answers {status}" if status else f"cannot be reached ({type(error).__name__})"
        raise ConnectionError(f"the Hugging Face Hub {said}: whose api_key this is, is not known") from None
    file = _owner_file(space, token)
    _owners[str(file)] = owner
    with contextlib.suppress(OSError):  # then it is asked again
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}")
        new.write_text(owner)
        new.replace(file)
    return _with_owner(space, owner)


def known_space(space: str, token: str | None) -> str | None:
    """A Space with its owner's name, if that was asked for before; None: it was not."""
    if not space.startswith("@"):
        return space
    if not token:
        return None
    file = _owner_file(space, token)
    if str(file) not in _owners:
        try:
            _owners[str(file)] = file.read_text().strip()
        except OSError:
            return None
    return _with_owner(space, _owners[str(file)])


def _owner_file(space: str, token: str) -> Path:
    """Where its name is kept, for this key alone: of the key itself nothing can be read off there."""
    digest = hashlib.sha256(f"{space}\n{token}".encode()).hexdigest()[:32]
    return our_folder() / "owners" / digest


def _with_owner(space: str, owner: str) -> str:
    return f"{owner}/{space.partition('/')[2]}"


def prepare_space(space_id: str, private: bool) -> None:
    """Make a Space with a bucket, unless it is there, with the Hub's token of this process."""
    from trackio import deploy, utils

    space, _, bucket = utils.preprocess_space_and_dataset_ids(space_id, None, None)
    bucket = deploy.resolve_auto_bucket_id(space, bucket)
    deploy.create_space_if_not_exists(space, bucket_id=bucket, private=private)


def space_url(space: str) -> str:
    """Where a Space answers."""
    user, _, name = space.partition("/")
    return f"https://{user}-{name}".lower().replace("_", "-").replace(".", "-") + ".hf.space"
