"""A run as it was recorded, read back."""

from __future__ import annotations

import functools
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from autolog.capture.summary import MORE, is_metric
from autolog.review.archive import Archive, Head, seconds_of
from autolog.review.collector import held_back
from autolog.review.series import Series, columns_of
from autolog.review.source import SourceError
from autolog.review.values import file_names
from autolog.sinks import UNSHOWN_TABLE
from autolog.sinks.identity import Destination

__all__ = ["PROPERTIES", "Artifact", "RecordedRun", "below", "flat", "folders_of"]


@dataclass(frozen=True)
class Artifact:
    """One version of an artifact.

    Attributes:
        is_input: whether the run has used it, and not made it.
        size: in bytes.
        files: their names in it.
        references: URIs of files that stayed where they were, by name.
    """

    name: str
    type: str
    version: int
    aliases: tuple[str, ...]
    metadata: Mapping[str, Any]
    size: int
    is_input: bool
    files: tuple[str, ...]
    references: Mapping[str, str]
    _digests: Mapping[str, str] = field(repr=False)
    _archive: Archive = field(repr=False)
    _project: str = field(repr=False)

    def path(self, name: str) -> Path:
        """One of its files, only to be read.

        Raises:
            KeyError: there is none of this name.
            SourceError: it is not there any more.
        """
        if name not in self._digests:
            known = ", ".join(self.files) or "no file"
            raise KeyError(f"{self.name} holds no {name!r}, but {known}")
        return self._archive.source.blob(self._project, self._digests[name])

    def text(self, name: str) -> str:
        """What stands in one of its files."""
        return self.path(name).read_text(encoding="utf-8", errors="replace")

    def copy(self, to: Path) -> list[Path]:
        """Copy all of its files into a folder, which is made if need be.

        Returns:
            The copies.
        """
        copies = []
        for name in self.files:
            target = (to / name).resolve()
            if not target.is_relative_to(to.resolve()):  # an artifact may say anything
                raise SourceError(f"{self.name}: the name {name!r} leads out of the folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path(name), target)
            copies.append(target)
        return copies


def folders_of(artifacts: Sequence[Artifact], taken: Iterable[str] = ()) -> list[str]:
    """A folder's name for each, none of them among those that are taken. It leads nowhere else: Trackio lets
    an artifact be called ``..``. Where there are several versions of one, it says which.
    """
    versions = Counter(artifact.name for artifact in artifacts)
    names = [a.name if versions[a.name] == 1 else f"{a.name}-v{a.version}" for a in artifacts]
    taken = list(taken)
    return list(file_names([*taken, *names]))[len(taken) :]


class RecordedRun:
    """A run that was recorded; what it says of itself is read when it is first asked for.

    Made by :func:`autolog.runs`. A run that is still going on says what has been recorded by now.
    """

    def __init__(self, archive: Archive, head: Head, siblings: Mapping[str, RecordedRun]):
        self._archive = archive
        self._head = head
        self._siblings = siblings

    def __repr__(self) -> str:
        result = ", ".join(f"{key} {value:.4g}" for key, value in self.result.items())
        return f"<run {self.name!r} {self.status or ''}{f': {result}' if result else ''}>"

    # Who it is, and how it went ---------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Unique."""
        return self._head.id

    @property
    def name(self) -> str:
        """Readable, need not be unique."""
        return self._head.name

    @property
    def project(self) -> str:
        """As its files are called."""
        return self._head.project

    @property
    def archive(self) -> Archive:
        """What it is read from."""
        return self._archive

    @property
    def place(self) -> str:
        """Where it was read: a folder, a server or a Space."""
        return self._archive.source.where

    @property
    def destination(self) -> Destination:
        """The same, as a kind and a name."""
        return self._archive.source.destination

    @property
    def waiting(self) -> int:
        """How many of its records have not arrived yet."""
        return sum(left.waiting for left in self._head.left)

    @property
    def status(self) -> str | None:
        """``running``, ``finished``, ``failed`` ..., or ``no sign for 12 min``; None: it has none."""
        return self._head.status

    @functools.cached_property
    def result(self) -> dict[str, float]:
        """The two or three numbers that it is about."""
        result = self.config.get("result")
        if not isinstance(result, dict):
            return {"result": float(result)} if isinstance(result, (int, float)) else {}
        return {key: float(value) for key, value in result.items() if _is_number(value)}

    @property
    def started(self) -> float:
        """In seconds since 1970; 0: it is not known."""
        return seconds_of(self.config.get("_Created") or self.config.get("_created")) or self._head.first

    @property
    def seconds(self) -> float | None:
        """How long it took; of a run that goes on, until now. None: it is not known."""
        told = self.config.get("seconds")
        if isinstance(told, (int, float)):
            return float(told)
        if not self.started:
            return None
        end = time.time() if self.status == "running" else self._head.last
        return max(0.0, end - self.started) if end else None

    @property
    def group(self) -> str | None:
        """As in Trackio."""
        return self.config.get("_Group")

    @property
    def tags(self) -> list[str]:
        """As they were given."""
        tags = self.config.get("tags")
        return [str(tag) for tag in tags] if isinstance(tags, list) else []

    @property
    def config(self) -> dict[str, Any]:
        """All that was recorded of it beside rows, by the keys of docs/keys.md."""
        return self._head.config

    @property
    def params(self) -> dict[str, Any]:
        """All hyperparameters, the nested ones with their names joined by ``/``."""
        chosen = self.params_set
        every = {
            key: value
            for key, value in flat(self._mapping("params"))
            if "/" not in key or chosen.get(key.rpartition("/")[2], _MISSING) != value  # not said twice
        }
        return {**every, **chosen}

    @functools.cached_property
    def params_set(self) -> dict[str, Any]:
        """Those that a person has set.

        The rate of an optimizer stands as ``params/lr`` in the runs of all frameworks. Who has set it as
        ``learning_rate`` sees it once.
        """
        start = len("params/")
        found = {k[start:]: v for k, v in self.config.items() if k.startswith("params/")}
        if "learning_rate" in found and found.get("lr") == found["learning_rate"]:
            del found["lr"]
        return found

    @property
    def notes(self) -> dict[str, str]:
        """What is missing from it, and why."""
        return {key: str(note) for key, note in self._mapping("autolog/notes").items()}

    def _mapping(self, key: str) -> dict[str, Any]:
        """Of the config, in which others may write what they like."""
        found = self.config.get(key)
        return found if isinstance(found, dict) else {}

    @property
    def words(self) -> list[str]:
        """What persons have written on it, the oldest first: see :meth:`add_note`."""
        return [text for key, text in self._markdown() if key == "note"]

    @property
    def reports(self) -> list[str]:
        """What the program has written on it itself, by ``run.report``."""
        return [text for key, text in self._markdown() if key == "report"]

    def _markdown(self) -> Iterator[tuple[str, str]]:
        for values in self._archive.rows(self._head).having('"trackio.markdown"'):
            for key, value in values.items():
                if isinstance(value, dict) and value.get("_type") == "trackio.markdown":
                    yield key, str(value.get("_value"))

    @property
    def parent(self) -> RecordedRun | None:
        """The run that it is a child of."""
        return self._siblings.get(self.parent_id or "")

    @property
    def parent_id(self) -> str | None:
        """The id of the run that it is a child of, which may be recorded elsewhere."""
        parent = self.config.get("parent")
        return parent if isinstance(parent, str) and parent != self.id else None

    @property
    def children(self) -> list[RecordedRun]:
        """The runs below it."""
        return [run for run in self._siblings.values() if run.parent_id == self.id]

    @property
    def siblings(self) -> list[RecordedRun]:
        """All runs of its project, this one too."""
        return list(self._siblings.values())

    # What was logged --------------------------------------------------------------------------------

    @functools.cached_property
    def _columns(self) -> tuple[dict[str, Series], dict[str, Any]]:
        with held_back():
            rows = self._archive.rows(self._head)
            return columns_of(rows.parts(), rows.times)

    @functools.cached_property
    def metrics(self) -> dict[str, Series]:
        """Every number that was logged, by its key; also those that came once, and stand in the config."""
        found = dict(self._columns[0])
        last = max((series.steps[-1] for series in found.values()), default=0)
        for key, value in self.once.items():
            found.setdefault(key, Series(key, [last], [value], lambda: [self._head.last or self.started]))
        return dict(sorted(found.items()))

    @property
    def once(self) -> dict[str, float]:
        """The numbers that were logged once, and are no chart in Trackio."""
        return {key: float(value) for key, value in self._mapping(MORE).items() if is_metric(value)}

    @functools.cached_property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each table, as it was logged last."""
        every = [*self._of_type("trackio.table"), *self._of_type(UNSHOWN_TABLE)]
        return {
            key: [row for row in rows if isinstance(row, dict)]
            for key, value in sorted(every, key=lambda item: item[0])
            if isinstance(rows := value.get("_value"), list)
        }

    @property
    def figures(self) -> dict[str, Path]:
        """The file of each picture or page, as it was logged last: SVG, HTML, or a picture.

        Raises:
            SourceError: one is not there any more.
        """
        found = {}
        for type_ in ("trackio.html", "trackio.image", "trackio.video", "trackio.audio"):
            for key, value in self._of_type(type_):
                if isinstance(path := value.get("file_path"), str):
                    found[key] = self._archive.source.media(self.project, path)
        return dict(sorted(found.items()))

    @property
    def texts(self) -> dict[str, str]:
        """What was logged as a text or as Markdown, as it was logged last."""
        plain = {key: value for key, value in self._columns[1].items() if isinstance(value, str)}
        return plain | {key: str(value.get("_value")) for key, value in self._of_type("trackio.markdown")}

    def _of_type(self, type_: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, value in sorted(self._columns[1].items()):
            if isinstance(value, dict) and value.get("_type") == type_:
                yield key, value

    @functools.cached_property
    def system(self) -> dict[str, Series]:
        """The machine's load while it went on, by Trackio's names; the steps are the samples' numbers."""
        rows = list(self._archive.system(self._head))
        part = range(len(rows)), [values for _, values in rows]
        return columns_of([part], lambda: [seconds_of(at) for at, _ in rows])[0]

    @functools.cached_property
    def alerts(self) -> list[dict[str, Any]]:
        """``title``, ``text``, ``level``, ``step`` and ``time`` (seconds since 1970) of each."""
        return self._archive.alerts(self._head)

    @functools.cached_property
    def artifacts(self) -> list[Artifact]:
        """The versions of artifacts that it has made or used."""
        return [self._artifact(row) for row in self._archive.artifacts(self._head)]

    def _artifact(self, row: Mapping[str, Any]) -> Artifact:
        entries = orjson.loads(row["manifest"] or "[]")
        metadata = orjson.loads(row["metadata"] or "{}") or {}
        kept = {
            entry["path"]: entry["digest"] for entry in entries if entry.get("digest") and not _refers(entry)
        }
        return Artifact(
            name=row["name"],
            type=row["type"],
            version=row["version"],
            aliases=tuple(sorted((row["aliases"] or "").split(","))) if row["aliases"] else (),
            metadata=metadata,
            size=row["size"] or 0,
            is_input=row["direction"] == "input",
            files=tuple(kept),
            references={entry["path"]: _refers(entry) or "" for entry in entries if _refers(entry)},
            _digests=kept,
            _archive=self._archive,
            _project=self.project,
        )

    # What can be done with it -----------------------------------------------------------------------

    @property
    def error(self) -> str | None:
        """Why it has failed: the error with its traceback; None: it has not."""
        told = [alert["text"] for alert in self.alerts if alert["level"] == "error" and alert["text"]]
        return told[-1] if told else self.config.get("error")

    def code(self) -> dict[str, str]:
        """The code that it ran: what was kept of it, by file. Empty: nothing was kept."""
        return self._texts_of("code")

    def packages(self) -> dict[str, str]:
        """The versions of the packages that were installed, by name. Empty: they were not kept."""
        lines = "\n".join(self._texts_of("environment").values()).splitlines()
        return dict(line.split("==", 1) for line in lines if "==" in line)

    def _texts_of(self, type_: str) -> dict[str, str]:
        found = {}
        for artifact in self.artifacts:
            if artifact.type == type_ and not artifact.is_input:
                found.update({name: artifact.text(name) for name in artifact.files})
        return found

    def files(self, to: str | Path) -> list[Path]:
        """Copy everything that it has kept as files into a folder, each artifact into one of its own.

        Returns:
            The copies.
        """
        made = [artifact for artifact in self.artifacts if not artifact.is_input]
        places = zip(made, folders_of(made), strict=True)
        return [copy for artifact, folder in places for copy in artifact.copy(Path(to) / folder)]

    def load_model(self, name: str | None = None) -> Any:
        """The model that it has trained, as an object: see :func:`autolog.review.loading.load`.

        A pickle can run any code when it is loaded: load only what you, or somebody whom you trust, have
        recorded.

        Args:
            name: of the artifact, where there are several; a checkpoint's, too. None: the model.

        Raises:
            LookupError: there is none, or several; the text names what there is.
            ImportError: what it takes to load it is not installed.
        """
        from autolog.review.loading import load

        return load(self, name)

    def add_note(self, text: str) -> None:
        """Add a person's words to it; shown by ``autolog show``, in its report, and by Trackio.

        Raises:
            ValueError: no words.
            SourceError: they cannot be written there.
        """
        from autolog.review.words import add_note

        add_note(self, text)
        self.__dict__.pop("_columns", None)

    def tag(self, *tags: str, remove: Iterable[str] = ()) -> None:
        """Add tags to it, or remove some.

        Raises:
            SourceError: it is still running, or has not all arrived: they would be lost.
        """
        from autolog.review.words import set_tags

        unwanted = set(remove)
        set_tags(self, [tag for tag in [*self.tags, *tags] if tag not in unwanted])

    def said(self, key: str) -> Any:
        """What it says under a key, without its rows: a property, a config key, a parameter.

        Also a number that came once. None: nothing.
        """
        if key in PROPERTIES:
            return getattr(self, key)
        if key in self.config:
            return self.config[key]
        if key.startswith("params/"):
            return self.params.get(key.removeprefix("params/"))
        return self.once.get(key)


_MISSING = object()

PROPERTIES = ("id", "name", "project", "status", "started", "seconds", "group", "tags")
"""What every run has, beside the keys that stand in it."""


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def below(run: RecordedRun) -> list[RecordedRun]:
    """All runs below a run, also those below them."""
    found: dict[str, RecordedRun] = {}
    waiting = run.children
    while waiting:
        child = waiting.pop(0)
        if child.id not in found and child.id != run.id:
            found[child.id] = child
            waiting += child.children
    return list(found.values())


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """A mapping without nesting: the names of nested ones are joined by ``/``."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{key}/")
        else:
            yield f"{above}{key}", value


def _refers(entry: Mapping[str, Any]) -> str | None:
    """Where a file stands that was only named, if it is one."""
    return entry.get("ref")
