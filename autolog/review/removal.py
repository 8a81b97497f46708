"""Runs and kept files, removed from this machine: only what Trackio and autolog have written of them.

A project's tables are changed in one transaction, and files are removed after it: whoever is interrupted in
between leaves files that nothing refers to, and no run with half of its rows.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from autolog.review.listing import Runs
from autolog.review.recorded import Artifact, RecordedRun, below
from autolog.review.source import Files, SourceError
from autolog.sinks.trackio.names import canonical_project

__all__ = ["Removal", "prunable", "removal_of"]

PRUNED = ("model", "checkpoint")  # what is large; code, packages and tables are small, and say what a run was
KEPT = ("best", "last")


@dataclass
class Removal:
    """What is to be removed, and how much room that makes.

    Attributes:
        runs: whole runs.
        artifacts: versions of artifacts, each with the runs that have made it.
        among: ids of runs that may have made or used them; whatever another one uses stays.
        bytes: of the files that nothing refers to afterwards.
    """

    runs: list[RecordedRun]
    artifacts: list[tuple[Artifact, list[RecordedRun]]] = field(default_factory=list)
    among: set[str] = field(default_factory=set)
    bytes: int = 0

    def carry_out(self) -> None:
        """Do it.

        Raises:
            SourceError: a database cannot be written to; of its project nothing was removed.
        """
        for project, of in _by_project(self).items():
            _Project(_files_of(of.runs, of.artifacts), project).carry_out(of)


def removal_of(runs: Sequence[RecordedRun]) -> Removal:
    """What goes with these runs: their rows, and the artifacts that no other run has made or used.

    Raises:
        SourceError: they are not on this machine, or one of them may still be written to.
    """
    _check(runs)
    removal = Removal(list(runs), among={run.id for run in runs})
    for project, of in _by_project(removal).items():
        with _Project(_files_of(of.runs), project).reading() as reading:
            _add_free(removal, reading, _made_by(of.runs))
            removal.bytes += sum(map(_size, reading.pictures_of(removal.among)))
    return removal


def prunable(
    runs: Runs, keep: Collection[str] = KEPT, older: float = 0.0, types: Collection[str] = PRUNED
) -> Removal:
    """Which kept models and checkpoints of these runs can go. The runs stay, with a note of it.

    Args:
        keep: ``best``: those of each project's best run, ``last``: those of the newest; both with what is
            below that run.
        older: only of runs that began so many seconds ago.
        types: of artifacts.

    Returns:
        What can go: nothing that another run uses, that a registry names, or that bears a name which somebody
        has given it (``production``).

    Raises:
        ValueError: another word in ``keep``.
        SourceError: the runs are not on this machine.
    """
    if unknown := set(keep) - set(KEPT):
        raise ValueError(
            f"keep={', '.join(sorted(unknown))}: expected {' or '.join(KEPT)}, with a comma between"
        )
    removal = Removal([])
    for project in sorted({run.project for run in runs}):
        every = Runs([run for run in runs if run.project == project], runs.where)
        kept = _kept(every, keep)
        old = [run for run in every if run.id not in kept and time.time() - run.started >= older]
        old = [run for run in old if not run.waiting and run.status != "running"]
        if not old:
            continue
        removal.among |= {run.id for run in old}
        with _Project(_files_of(old), project).reading() as reading:
            made = [(a, by) for a, by in _made_by(old) if a.type in types and not _is_named(a)]
            _add_free(removal, reading, made)
    return removal


def _add_free(
    removal: Removal, reading: _Reading, made: Iterable[tuple[Artifact, list[RecordedRun]]]
) -> None:
    """Those that nobody else needs."""
    free = [(artifact, by) for artifact, by in made if not reading.is_needed(artifact, removal.among)]
    removal.artifacts += free
    removal.bytes += sum(map(_size, reading.files_of([artifact for artifact, _ in free])))


def _kept(runs: Runs, keep: Collection[str]) -> set[str]:
    top = {run.id for run in runs.at_top()}
    chosen = [runs.get("last")] if "last" in keep else []
    if "best" in keep:
        for among in (runs, Runs([run for run in runs if run.id not in top], runs.where)):
            with contextlib.suppress(LookupError):  # none has a result
                chosen.append(among.best)  # the best study, and the best of all trials
    return {one.id for run in chosen for one in [run, *below(run)]}


def _is_named(artifact: Artifact) -> bool:
    """Whether somebody has given it a name: what we and Trackio call artifacts says nothing."""
    return not set(artifact.aliases) <= {"latest", "best", "last"}


def _check(runs: Iterable[RecordedRun]) -> None:
    for run in runs:
        if run.status == "running":
            raise SourceError(f"{run.name} is still running: remove it when it has ended.")
        if run.waiting:
            raise SourceError(f"{run.name} has not all arrived, and would come back: `autolog sync` first.")


def _made_by(runs: Sequence[RecordedRun]) -> list[tuple[Artifact, list[RecordedRun]]]:
    """Each version that one of them has made, with those that have."""
    made: dict[tuple[str, int], tuple[Artifact, list[RecordedRun]]] = {}
    for run in runs:
        for artifact in run.artifacts:
            if not artifact.is_input:
                made.setdefault((artifact.name, artifact.version), (artifact, []))[1].append(run)
    return list(made.values())


def _files_of(
    runs: Sequence[RecordedRun], artifacts: Sequence[tuple[Artifact, list[RecordedRun]]] = ()
) -> Files:
    """The place of runs, which is a folder of this machine."""
    run = next(iter([*runs, *(run for _, by in artifacts for run in by)]))
    if not isinstance(run.archive.source, Files):
        raise SourceError(f"{run.place} is another machine: only what lies on this one can be removed.")
    return run.archive.source


def _by_project(removal: Removal) -> dict[str, Removal]:
    found: dict[str, Removal] = {}
    for run in removal.runs:
        found.setdefault(run.project, Removal([], among=removal.among)).runs.append(run)
    for artifact, by in removal.artifacts:
        of = found.setdefault(by[0].project, Removal([], among=removal.among))
        of.artifacts.append((artifact, by))
    return found


class _Project:
    """A project's database and files."""

    def __init__(self, files: Files, project: str):
        self._directory = files.directory
        self._name = canonical_project(project)
        self._path = files.directory / f"{self._name}.db"

    @contextlib.contextmanager
    def reading(self) -> Iterator[_Reading]:
        with self._opened() as connection:
            yield _Reading(connection, self._directory, self._name)

    def carry_out(self, removal: Removal) -> None:
        with self._opened() as connection:
            reading = _Reading(connection, self._directory, self._name)
            connection.execute("BEGIN IMMEDIATE")
            try:
                ids = [run.id for run in removal.runs]
                # Somebody may have begun to use one since it was looked at.
                free = [(a, by) for a, by in removal.artifacts if not reading.is_needed(a, removal.among)]
                files = [*reading.files_of([artifact for artifact, _ in free]), *reading.pictures_of(ids)]
                for artifact, by in free:
                    _forget_version(connection, artifact)
                    for run in by:
                        if run.id not in ids:
                            _note(connection, run.id, artifact)
                for table in _tables_with(connection, "run_id"):
                    connection.executemany(f"DELETE FROM {table} WHERE run_id = ?", [(i,) for i in ids])
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            for path in files:
                _remove(path, self._directory)
            with contextlib.suppress(sqlite3.OperationalError):  # somebody reads: then the next time
                connection.execute("VACUUM")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True, timeout=10.0)
            ) as connection:
                connection.isolation_level = None  # transactions begin and end where it is said
                yield connection
        except sqlite3.Error as error:
            raise SourceError(f"{self._path} cannot be changed: {error}") from error


class _Reading:
    """What of a project would go, and what holds it."""

    def __init__(self, connection: sqlite3.Connection, directory: Path, project: str):
        self._connection = connection
        self._directory = directory
        self._project = project

    def is_needed(self, artifact: Artifact, but_for: Collection[str]) -> bool:
        """Whether a run but for these has made or used it, or another project, a registry say, names it."""
        version = self._id_of(artifact)
        linked = self._connection.execute(
            "SELECT run_id FROM run_artifact_links WHERE artifact_version_id = ?", (version,)
        )
        return any(run not in but_for for (run,) in linked) or version in self._named_elsewhere()

    def _named_elsewhere(self) -> set[int]:
        found = set()
        for path in self._directory.glob("*.db"):
            with contextlib.suppress(sqlite3.Error):  # of an older Trackio, or not one of its
                uri = f"{path.absolute().as_uri()}?mode=ro"
                with contextlib.closing(sqlite3.connect(uri, uri=True)) as other:
                    named = other.execute(
                        "SELECT source_version_id, source_project FROM external_run_artifact_links"
                    )
                    found |= {version for version, of in named if canonical_project(of) == self._project}
        return found

    def _id_of(self, artifact: Artifact) -> int | None:
        found = self._connection.execute(
            "SELECT v.id FROM artifact_versions AS v JOIN artifacts AS a ON a.id = v.artifact_id "
            "WHERE a.name = ? AND v.version = ?",
            (artifact.name, artifact.version),
        ).fetchone()
        return found[0] if found else None

    def files_of(self, artifacts: Sequence[Artifact]) -> list[Path]:
        """The files that no other version holds too."""
        gone = {self._id_of(artifact) for artifact in artifacts}
        going, staying = set[str](), set[str]()
        for version, manifest in self._connection.execute(
            "SELECT id, CAST(manifest AS TEXT) FROM artifact_versions"
        ):
            digests = {e["digest"] for e in orjson.loads(manifest) if e.get("digest") and not e.get("ref")}
            (going if version in gone else staying).update(digests)
        folder = self._directory / "artifacts" / self._project / "blobs" / "sha256"
        return [folder / digest[:2] / digest for digest in sorted(going - staying)]

    def pictures_of(self, runs: Collection[str]) -> list[Path]:
        """The files that the rows of these runs show and no other row does."""
        going, staying = set[str](), set[str]()
        rows = self._connection.execute(
            "SELECT run_id, CAST(metrics AS TEXT) FROM metrics "
            "WHERE instr(CAST(metrics AS TEXT), '\"file_path\"')"
        )
        for run, text in rows:
            with contextlib.suppress(ValueError):
                (going if run in runs else staying).update(_file_paths(orjson.loads(text)))
        folder = (self._directory / "media").resolve()
        paths = [(folder / name).resolve() for name in sorted(going - staying)]
        return [path for path in paths if path.is_relative_to(folder)]  # a row may say anything


def _forget_version(connection: sqlite3.Connection, artifact: Artifact) -> None:
    """Take a version out; ``latest`` is then the newest of those that stay."""
    (of, version) = connection.execute(
        "SELECT a.id, v.id FROM artifact_versions AS v JOIN artifacts AS a ON a.id = v.artifact_id "
        "WHERE a.name = ? AND v.version = ?",
        (artifact.name, artifact.version),
    ).fetchone()
    connection.execute("DELETE FROM run_artifact_links WHERE artifact_version_id = ?", (version,))
    connection.execute("DELETE FROM artifact_aliases WHERE artifact_version_id = ?", (version,))
    connection.execute("DELETE FROM artifact_versions WHERE id = ?", (version,))
    newest = connection.execute(
        "SELECT id FROM artifact_versions WHERE artifact_id = ? ORDER BY version DESC LIMIT 1", (of,)
    ).fetchone()
    if newest is None:
        connection.execute("DELETE FROM artifacts WHERE id = ?", (of,))
    elif "latest" in artifact.aliases:
        connection.execute("INSERT OR IGNORE INTO artifact_aliases VALUES (?, 'latest', ?)", (of, newest[0]))


def _note(connection: sqlite3.Connection, run: str, artifact: Artifact) -> None:
    """Say in a run that something of it is not there any more."""
    found = connection.execute("SELECT config FROM configs WHERE run_id = ?", (run,)).fetchone()
    if found is None:
        return
    config = orjson.loads(found[0])
    notes = config.get("autolog/notes")
    day = time.strftime("%Y-%m-%d")
    said = {f"artifact/{artifact.name}": f"version {artifact.version} was removed by autolog prune on {day}"}
    config["autolog/notes"] = {**notes, **said} if isinstance(notes, dict) else said
    text = orjson.dumps(config)
    as_it_was = text.decode() if isinstance(found[0], str) else text
    connection.execute("UPDATE configs SET config = ? WHERE run_id = ?", (as_it_was, run))


def _tables_with(connection: sqlite3.Connection, column: str) -> list[str]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        table
        for table in tables
        if any(found[1] == column for found in connection.execute(f"PRAGMA table_info({table})"))
    ]


def _file_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("_type"), str) and isinstance(value.get("file_path"), str):
            yield value["file_path"]
        for item in value.values():
            yield from _file_paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _file_paths(item)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _remove(path: Path, directory: Path) -> None:
    """A file, and the folders above it that are empty then."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with contextlib.suppress(OSError):  # another file is there
        for folder in path.parents:
            if folder in (directory, directory.resolve()):
                return
            folder.rmdir()
