"""Runs and kept files, removed from this machine: only what Trackio and autolog have written of them.

A project's tables are changed in one transaction, and files are removed after it: whoever is interrupted in
between leaves files that nothing refers to, and no run with half of its rows.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from autolog.review.left import in_inbox, in_journals
from autolog.review.listing import Runs
from autolog.review.recorded import Artifact, RecordedRun, below
from autolog.review.source import Files, SourceError
from autolog.sinks.trackio.names import canonical_project

__all__ = ["Removal", "prunable", "removal_of"]

PRUNED = ("model", "checkpoint")  # what is large; code, packages and tables are small, and say what a run was
KEPT = ("best", "last")
OURS = {"latest", "best", "last"}  # what we and Trackio call artifacts; any other name somebody has given
# Where a row may show a picture.
SHOWING = {"metrics": ("metrics",), "traces": ("messages", "metadata", "spans")}
# Where another project names versions: its runs, or a registry's collections.
NAMING = ("external_run_artifact_links", "collection_links")


@dataclass
class Removal:
    """What is to be removed, and how much room that makes.

    Attributes:
        runs: whole runs.
        artifacts: versions of artifacts, each with the runs that have made it.
        among: project and id of runs that may have made or used them; whatever another one uses stays.
        bytes: of the files that nothing refers to afterwards.
    """

    runs: list[RecordedRun]
    artifacts: list[tuple[Artifact, list[RecordedRun]]] = field(default_factory=list)
    among: set[tuple[str, str]] = field(default_factory=set)
    bytes: int = 0

    def carry_out(self) -> None:
        """Do it. Afterwards ``artifacts`` and ``bytes`` say what went: meanwhile somebody may have begun to
        use one, or have removed it themselves.

        Raises:
            SourceError: a database cannot be written to; of its project nothing was removed. Or files
                cannot be removed: nothing refers to them any more.
        """
        went: list[tuple[Artifact, list[RecordedRun]]] = []
        freed = 0
        for project, of in _by_project(self).items():
            _Project(_files_of(of.runs, of.artifacts), project).carry_out(of)
            went += of.artifacts
            freed += of.bytes
        self.artifacts, self.bytes = went, freed

    def ids_in(self, project: str) -> set[str]:
        """The ids among them of a project: another one may have a run of the same id."""
        return {run for of, run in self.among if of == project}


def removal_of(runs: Sequence[RecordedRun]) -> Removal:
    """What goes with these runs: their rows, pictures that nobody else shows, and artifacts that no other run
    has made or used, no registry names, and that bear no name which somebody has given them.

    Raises:
        SourceError: they are not on this machine, or one of them may still be written to.
    """
    _check(runs)
    removal = Removal(list(runs), among={(run.project, run.id) for run in runs})
    for project, of in _by_project(removal).items():
        ids = removal.ids_in(project)
        with _Project(_files_of(of.runs), project).reading() as reading:
            if unsent := [run.name for run in of.runs if run.id in reading.unsent()]:
                raise SourceError(f"{unsent[0]} has not all arrived at its Space: `trackio sync` first.")
            _add_free(removal, reading, _made_by(of.runs), ids)
            removal.bytes += sum(map(_size, [*reading.pictures_of(ids), *reading.pages_of(ids)]))
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
        with _Project(_files_of(old), project).reading() as reading:
            unsent = reading.unsent()
            old = [run for run in old if run.id not in unsent]
            removal.among |= {(project, run.id) for run in old}
            made = [(a, by) for a, by in _made_by(old) if a.type in types]
            _add_free(removal, reading, made, removal.ids_in(project))
    return removal


def _add_free(
    removal: Removal,
    reading: _Reading,
    made: Iterable[tuple[Artifact, list[RecordedRun]]],
    among: Collection[str],
) -> None:
    """Those that nobody else needs."""
    free = [(artifact, by) for artifact, by in made if reading.may_go(artifact, among)]
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


def _check(runs: Iterable[RecordedRun]) -> None:
    for run in runs:
        if run.status == "running":
            raise SourceError(f"{run.name} is still running: remove it when it has ended.")
        if run.waiting:
            raise SourceError(
                f"{run.name} has not all arrived, and would come back: `autolog sync` first, "
                "or `trackio show` if it lies in Trackio's inbox."
            )


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
        self._told = project
        self._name = canonical_project(project)
        self._path = files.directory / f"{self._name}.db"

    @contextlib.contextmanager
    def reading(self) -> Iterator[_Reading]:
        with self._opened() as connection:
            yield _Reading(connection, self._directory, self._name)

    def carry_out(self, removal: Removal) -> None:
        """Do it, and say in the removal what went."""
        with self._opened() as connection:
            reading = _Reading(connection, self._directory, self._name)
            ids = [run.id for run in removal.runs]
            with _transaction(connection):
                # Somebody may have begun to use one since it was looked at, or have removed it.
                among = removal.ids_in(self._told)
                removal.artifacts = [(a, by) for a, by in removal.artifacts if reading.may_go(a, among)]
                artifacts = [artifact for artifact, _ in removal.artifacts]
                files = {*reading.files_of(artifacts), *reading.pictures_of(ids), *reading.pages_of(ids)}
                for artifact, by in removal.artifacts:
                    _forget_version(connection, artifact)
                    for run in by:
                        if run.id not in ids:
                            _note(connection, run.id, artifact)
                for table in _tables_with(connection, "run_id"):
                    connection.executemany(f'DELETE FROM "{table}" WHERE run_id = ?', [(i,) for i in ids])
                if "artifact_versions" in _tables_with(connection, "producer_run_id"):
                    connection.executemany(
                        "UPDATE artifact_versions SET producer_run_id = NULL, producer_run_name = NULL "
                        "WHERE producer_run_id = ?",
                        [(i,) for i in ids],
                    )
            with _transaction(connection):  # nobody can begin to use a file while it goes
                files -= reading.still_used(files)
                removal.bytes, problems = _removed(files, reading.roots)
            with contextlib.suppress(sqlite3.OperationalError):  # somebody reads: then the next time
                connection.execute("VACUUM")
        if problems:
            raise SourceError(
                f"{len(problems)} file(s) cannot be removed, though nothing refers to them any more: "
                f"{problems[0]}"
            )

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

    @property
    def roots(self) -> tuple[Path, Path, Path]:
        """The folders that the files are below: these stay, whatever they are links to."""
        media = (self._directory / "media").resolve()
        blobs = self._directory / "artifacts" / self._project / "blobs" / "sha256"
        return media, blobs, self._directory / "autolog-data" / "reports" / self._project

    def unsent(self) -> set[str]:
        """The runs of which Trackio has something yet to send to a Space."""
        found = set[str]()
        for table in set(_tables_with(self._connection, "space_id")):
            if table in _tables_with(self._connection, "run_id"):
                rows = self._connection.execute(f'SELECT run_id FROM "{table}" WHERE space_id IS NOT NULL')
                found.update(run for (run,) in rows)
        return found

    def may_go(self, artifact: Artifact, but_for: Collection[str]) -> bool:
        """Whether it is there, no run but for these has made or used it, nobody has given it a name, and no
        other project, a registry say, names it.
        """
        version = self._id_of(artifact)
        linked = self._connection.execute(
            "SELECT run_id FROM run_artifact_links WHERE artifact_version_id = ?", (version,)
        )
        names = self._connection.execute(
            "SELECT alias FROM artifact_aliases WHERE artifact_version_id = ?", (version,)
        )
        return (
            version is not None
            and all(run in but_for for (run,) in linked)
            and all(name in OURS for (name,) in names)
            and (artifact.name, artifact.version) not in self._named_elsewhere
        )

    @functools.cached_property
    def _named_elsewhere(self) -> set[tuple[str, int]]:
        """Name and version of what other projects name.

        Raises:
            SourceError: one cannot be read. What it names is not known then.
        """
        found = set()
        for path in self._others():
            with _other(path) as other:
                for table in set(NAMING).intersection(_tables_with(other, "source_project")):
                    found |= {
                        (name, version)
                        for name, version, of in other.execute(
                            f"SELECT source_artifact, source_version, source_project FROM {table}"
                        )
                        if canonical_project(of) == self._project
                    }
        return found

    def _others(self) -> list[Path]:
        """The databases of all other projects."""
        return sorted(path for path in self._directory.glob("*.db") if path.stem != self._project)

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
        for version, digests in self._held() if gone else ():
            (going if version in gone else staying).update(digests)
        return [self._blob(digest) for digest in sorted(going - staying)]

    def pictures_of(self, runs: Collection[str]) -> list[Path]:
        """The files that the rows of these runs show, and no other row does, in whatever project."""
        going, staying = set[Path](), set[Path]()
        for run, paths in self._shown(self._connection):
            (going if run in runs else staying).update(paths)
        if going - staying:
            for path in self._others():
                with _other(path) as other:
                    staying.update(*(paths for _, paths in self._shown(other)))
            staying.update(self._shown_by_what_waits())
        return sorted(going - staying)

    def pages_of(self, runs: Collection[str]) -> list[Path]:
        """The reports that their own programs have made."""
        folder = self.roots[2]
        names = [f"{run}.html" for run in sorted(runs)]
        return [folder / name for name in names if Path(name).name == name]  # an id may say anything

    def still_used(self, files: Collection[Path]) -> set[Path]:
        """Those of them that somebody has begun to use meanwhile."""
        held = {self._blob(digest) for _, digests in self._held() for digest in digests}
        shown = {path for _, paths in self._shown(self._connection) for path in paths}
        return (held | shown).intersection(files)

    def _held(self) -> Iterator[tuple[int, set[str]]]:
        """Each version, with the digests of its files."""
        if _tables_with(self._connection, "manifest"):
            for version, manifest in self._connection.execute(
                "SELECT id, CAST(manifest AS TEXT) FROM artifact_versions"
            ):
                entries = orjson.loads(manifest)
                yield version, {e["digest"] for e in entries if e.get("digest") and not e.get("ref")}

    def _blob(self, digest: str) -> Path:
        return self.roots[1] / digest[:2] / digest

    def _shown(self, connection: sqlite3.Connection) -> Iterator[tuple[str, set[Path]]]:
        """Runs, with the files that a row of theirs shows."""
        known = _tables_with(connection, "run_id")
        for table, columns in SHOWING.items():
            for column in columns if table in known else ():
                if table in _tables_with(connection, column):
                    for run, text in connection.execute(
                        f"SELECT run_id, CAST({column} AS TEXT) FROM {table} "
                        f"WHERE instr(CAST({column} AS TEXT), '\"file_path\"')"
                    ):
                        with contextlib.suppress(ValueError):
                            yield run, self._media(_file_paths(orjson.loads(text)))

    def _shown_by_what_waits(self) -> Iterator[Path]:
        waiting = (
            in_inbox(self._directory / "inbox"),
            in_journals(self._directory / "autolog-data" / "journal"),
        )
        for left in itertools.chain(*waiting):
            for *_, values in left.rows:
                yield from self._media(_file_paths(values))

    def _media(self, names: Iterable[str]) -> set[Path]:
        folder = self.roots[0]
        paths = {Path(os.path.normpath(folder / name)) for name in names}
        return {path for path in paths if path.is_relative_to(folder)}  # a row may say anything


@contextlib.contextmanager
def _other(path: Path) -> Iterator[sqlite3.Connection]:
    """Another project's database, only to be read."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            yield connection
    except sqlite3.Error as error:
        if "not a database" not in str(error):
            raise SourceError(f"{path} cannot be read, and may name what is to go: {error}") from error


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


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
    else:
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
        if any(found[1] == column for found in connection.execute(f'PRAGMA table_info("{table}")'))
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


def _removed(files: Iterable[Path], roots: Collection[Path]) -> tuple[int, list[OSError]]:
    """Remove files, and the folders between them and the roots that are empty then.

    Returns:
        The bytes that this has freed, and what went wrong: the others are removed all the same.
    """
    freed, problems = 0, []
    for path in sorted(files):
        size = _size(path)
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(error)
            continue
        freed += size
        with contextlib.suppress(OSError):  # another file is there
            for folder in itertools.takewhile(lambda above: above not in roots, path.parents):
                folder.rmdir()
    return freed, problems
