"""Where runs are read from: Trackio's files on this machine, or a server or Space over its HTTP API.

Both answer the same questions in SQL: a server lets anybody ask who may look at it. Nothing is imported of
Trackio, whose import takes a second, and nothing is written.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from autolog.sinks.identity import Destination
from autolog.sinks.trackio.directory import data_directory
from autolog.sinks.trackio.names import RESERVED_PROJECT_SUFFIXES, canonical_project

__all__ = ["Files", "Server", "Source", "SourceError", "dashboard"]

Rows = Iterator[tuple[Any, ...]]
Told = TypeVar("Told", dict[str, Any], list[Any])


class SourceError(Exception):
    """Nothing can be read from there; the text says why, and how to mend it."""


class Source(Protocol):
    """What holds projects."""

    destination: Destination

    @property
    def where(self) -> str:
        """As a person calls it."""

    def projects(self) -> list[str]:
        """Their names, sorted."""

    def select(self, project: str, query: str) -> Rows:
        """The rows of a query, which says its order. None, if a table is not there.

        Raises:
            SourceError: it cannot be read.
        """

    def text_of(self, column: str) -> str:
        """A column that holds JSON, as a query asks for it."""

    def blob(self, project: str, digest: str) -> Path:
        """A file of an artifact, by its SHA-256.

        Raises:
            SourceError: it is not there.
        """

    def media(self, project: str, path: str) -> Path:
        """A picture or page that a row refers to.

        Raises:
            SourceError: it is not there.
        """


class Files:
    """Trackio's files in a directory of this machine.

    Args:
        directory: None: where Trackio keeps them here.
    """

    destination: Destination = ("local", "")

    def __init__(self, directory: Path | None = None):
        self.directory = Path(directory or data_directory())

    @property
    def where(self) -> str:
        return str(self.directory)

    def projects(self) -> list[str]:
        found = [path.stem for path in self.directory.glob("*.db")]
        return sorted(name for name in found if not _is_trackios_own(name))

    def select(self, project: str, query: str) -> Rows:
        path = self.directory / f"{canonical_project(project)}.db"
        if not path.is_file():
            return
        try:
            with contextlib.closing(_opened(path)) as connection:
                yield from connection.execute(query)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):  # of an older Trackio, which kept nothing of the kind
                raise SourceError(f"{path} cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise SourceError(f"{path} cannot be read: {error}") from error

    def text_of(self, column: str) -> str:
        return column

    def blob(self, project: str, digest: str) -> Path:
        folder = self.directory / "artifacts" / canonical_project(project) / "blobs" / "sha256"
        return _existing(folder / digest[:2] / digest)

    def media(self, project: str, path: str) -> Path:
        folder = (self.directory / "media").resolve()
        found = (folder / path).resolve()
        if not found.is_relative_to(folder):  # a row may say anything
            raise SourceError(f"{path!r} lies outside of {folder}")
        return _existing(found)


class Server:
    """A self-hosted server or a Space.

    Args:
        destination: of the kind ``server`` or ``space``.
        token: of the Hub, for a private Space; of a server the write token, which reading does not need.
        patience: seconds to wait for an answer.
    """

    def __init__(self, destination: Destination, token: str | None = None, patience: float = 60.0):
        self.destination = destination
        self._patience = patience
        if destination[0] == "server":
            self._base = destination[1].rstrip("/")
        else:
            from autolog.sinks.trackio.remote import space_url

            self._base = space_url(destination[1]).rstrip("/")
        self._headers: dict[str, str] = {}
        if token:
            is_servers = destination[0] == "server"
            name = "X-Trackio-Write-Token" if is_servers else "Authorization"
            self._headers[name] = token if is_servers else f"Bearer {token}"
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def where(self) -> str:
        return self.destination[1]

    def projects(self) -> list[str]:
        found = self._ask("get_all_projects", list)
        return sorted(str(name) for name in found if not _is_trackios_own(str(name)))

    def select(self, project: str, query: str) -> Rows:
        at_once, begin = 5_000, 0  # a server gives 10,000 rows at most
        while True:
            page = f"{query} LIMIT {at_once} OFFSET {begin}"
            try:
                answer = self._ask("query_project", dict, project=project, query=page)
            except SourceError as error:
                if any(text in str(error) for text in ("no such table", "not found")):
                    return
                raise
            try:
                rows = [tuple([row[column] for column in answer["columns"]]) for row in answer["rows"]]
            except (KeyError, TypeError) as error:
                raise SourceError(f"{self.where} has answered something else than rows: {error}") from error
            yield from rows
            if len(rows) < at_once:
                return
            begin += at_once

    def text_of(self, column: str) -> str:
        return f"CAST({column} AS TEXT)"  # an answer in JSON holds no bytes

    def blob(self, project: str, digest: str) -> Path:
        return self._fetched(f"artifact_blob/{project}/{digest}", {}, digest)

    def media(self, project: str, path: str) -> Path:
        name = "".join(c if c.isalnum() or c in ".-_" else "_" for c in path)
        return self._fetched("file", {"path": f"{self.media_folder}/{path}"}, name)

    @functools.cached_property
    def media_folder(self) -> Path:
        """The server's own, where it runs.

        Raises:
            SourceError: it does not answer, or is none of Trackio's.
        """
        told = self._ask("get_settings", dict)
        if not isinstance(told.get("media_dir"), str):
            raise SourceError(f"{self.where} does not say where its pictures are: is it a Trackio server?")
        return Path(told["media_dir"])

    def may_write(self) -> bool:
        """Whether the token lets us write there.

        Raises:
            SourceError: nobody answers.
        """
        return bool(self._ask("get_run_mutation_status", dict).get("allowed"))

    def _ask(self, what: str, kind: type[Told], **arguments: Any) -> Told:
        """Its answer, which is of this kind.

        Raises:
            SourceError: there is none, or another one.
        """
        import httpx

        try:
            answer = httpx.post(
                f"{self._base}/api/{what}", json=arguments, headers=self._headers, timeout=self._patience
            )
        except httpx.HTTPError as error:
            raise SourceError(f"{self.where} does not answer: {error}") from error
        try:
            said = answer.json()
        except ValueError:
            said = {}
        if isinstance(said, dict) and said.get("error"):
            raise SourceError(f"{self.where}: {said['error']}")
        if answer.status_code in (401, 403):
            raise SourceError(f"{self.where} lets nobody in without a token: set HF_TOKEN")
        if answer.status_code == 404:
            raise SourceError(f"{self.where} knows no {what}: it is no Trackio server, or too old")
        data = said.get("data") if isinstance(said, dict) else None
        if answer.status_code != 200 or not isinstance(data, kind):
            raise SourceError(
                f"{self.where} has answered {what} by something else ({answer.status_code}): is it Trackio's?"
            )
        return data

    def _fetched(self, path: str, asked: dict[str, str], name: str) -> Path:
        import httpx

        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="autolog-")
        kept = Path(self._folder.name) / name
        if kept.exists():
            return kept
        try:
            with httpx.stream(
                "GET", f"{self._base}/{path}", params=asked, headers=self._headers, timeout=self._patience
            ) as answer:
                answer.raise_for_status()
                with kept.open("wb") as file:
                    for part in answer.iter_bytes():
                        file.write(part)
        except httpx.HTTPError as error:
            kept.unlink(missing_ok=True)
            raise SourceError(f"{self.where} does not give {path}: {error}") from error
        return kept


def dashboard(directory: Path) -> str | None:
    """Where `trackio show` answers for this directory: it takes the first free port from 7860 on."""
    first = int(os.environ.get("GRADIO_SERVER_PORT") or 7860)
    for port in range(first, first + 5):
        with contextlib.suppress(OSError, SourceError):  # nobody listens there, or another program does
            socket.create_connection(
                ("127.0.0.1", port), timeout=0.1
            ).close()  # refused at once, or a timeout
            url = f"http://127.0.0.1:{port}"
            if Server(("server", url), patience=5.0).media_folder.parent == directory.resolve():
                return url
    return None


def _opened(path: Path) -> sqlite3.Connection:
    """Only to be read. Where a folder takes no file beside it, as it stands."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    return connection


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SourceError(f"{path} is not there any more")
    return path


def _is_trackios_own(project: str) -> bool:
    return project.startswith("registry-") or project.endswith(RESERVED_PROJECT_SUFFIXES)
