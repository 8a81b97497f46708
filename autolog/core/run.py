"""Run: the one thing that every framework writes to."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import os
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from autolog.capture import params as capture_params
from autolog.capture.params import label
from autolog.core.settings import SHAREABLE, Settings
from autolog.process import forks, guard
from autolog.process.guard import measured, shield
from autolog.sinks import Record, Sink

if TYPE_CHECKING:
    from autolog.capture.evaluation import Evaluation

__all__ = ["Run", "RunError", "status_of"]

STATUSES = ("running", "finished", "failed", "killed", "pruned", "crashed")
LEVELS = ("info", "warn", "error")
ROWS_SHOWN = 50  # of a long table: the dashboard shows tables whole, and above all pictures

# Trackio keeps these names for itself and renames such metrics the same way (trackio/run.py, Run.log).
_RESERVED_METRICS = {"project", "run", "timestamp", "step", "time", "metrics"}


_at_fork = threading.RLock()  # while the first thread of a child that logs makes a run the child's


def _new_lock_in_child() -> None:
    global _at_fork
    _at_fork = threading.RLock()


forks.when_forked("writer", in_child=_new_lock_in_child)


class RunError(RuntimeError):
    """A run was used in a way that it does not allow; the message says how to mend it."""


class Run:
    """One training, or whatever the user wants to see as one.

    Made by :func:`autolog.run`, :meth:`child`, or by a framework's hook. A run is also a context
    manager: inside, it is the current one; leaving finishes it, with the status that fits.

    Attributes:
        id: unique, also in Trackio.
        name: readable, need not be unique.
        project, group: as in Trackio.
        parent: the run that this one is a child of, or None.
    """

    def __init__(
        self,
        name: str,
        *,
        project: str,
        sink: Sink | None,
        settings: Settings,
        group: str | None = None,
        parent: Run | None = None,
        ambient: Any = None,
        run_id: str | None = None,
        joined: bool = False,
        resumed: int = 0,
        shared: bool = False,
        opened_by_user: bool = False,
        destination: tuple[str, str] = ("local", ""),
        when_ended: Callable[[Run], None] = lambda run: None,
    ):
        self.id = run_id or uuid.uuid4().hex
        self.name = name
        self.project = project
        self.group = group
        self.parent = parent
        self.settings = settings
        self.overhead_seconds = 0.0
        self.opened_by_user = opened_by_user
        self.is_training = False
        self.trainings = 0  # of the model that it is of, so far
        self.resumed = resumed  # how many times it was gone on with after an interruption
        self._sink = sink
        self._ambient = ambient
        self._joined = joined
        self._shared = shared
        self._destination = destination
        self._when_ended = when_ended
        self._status = "running"
        self._closed = False
        self._claimed = False
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._ids = itertools.count(1)
        self._id_prefix = f"{self.id}-"
        self._next_step = 0
        self._pid = os.getpid()
        self._started = time.time()
        self._ended: float | None = None
        self._tags: list[str] = []
        self._children = 0
        self._first_children: list[str] = []
        self._params: dict[str, dict[str, Any]] = {}
        self._notes: dict[str, str] = {}
        self._faults: list[str] = []
        self._exits: list[Callable[[], None]] = []
        self._last_words: list[Callable[[], None]] = []
        self._announced = False
        if not joined:  # one that is joined says so with its first record, if it ever has one
            self._announce()

    # What the user and the frameworks call ------------------------------------------------------

    @measured
    def params(self, values: Mapping[str, Any], *, prefix: str = "params") -> None:
        """Record hyperparameters: into the config, under ``prefix``, beside those of earlier calls.

        Args:
            values: names to anything. What JSON does not know becomes its repr or qualified name, a long
                text is shortened, a secret (by its name or shape) becomes ``***``.
            prefix: the config key that holds them; ``""`` puts them at the top level.

        Raises:
            TypeError: ``values`` is not a mapping.
            RunError: the run is finished.
        """
        if not isinstance(values, Mapping):
            raise TypeError(
                f"params: expected a mapping of names to values, got {type(values).__name__}. "
                'Write run.params({"lr": 0.1}).'
            )
        self._check_open("params")
        overflow: dict[str, str] = {}
        clean = capture_params.sanitize(dict(values), overflow=overflow)
        if prefix:  # with what was recorded under it before: a config's key is replaced as a whole
            with self._lock:
                clean = self._params[prefix] = {**self._params.get(prefix, {}), **clean}
            self._config({prefix: clean})
        else:
            self._config(without_underscores(clean))
        for path, text in overflow.items():
            where = "/".join(part for part in (prefix, path) if part)
            self._text_file(where, text)

    @measured
    def log(self, metrics: Mapping[str, Any], *, step: int | None = None) -> None:
        """Record metrics at a step.

        Args:
            metrics: names to numbers (Python, NumPy, torch and JAX scalars too); nested mappings are joined
                by ``/``.
            step: the optimizer's global step, not negative. None: one more than the last.

        Raises:
            TypeError: a value that is no number, or a step that is none; nothing of the call is recorded.
            ValueError: a negative step.
            RunError: the run is finished.
        """
        if self._closed:
            self._check_open("log")
        values: dict[str, Any] = {}
        self._flatten(metrics, "", values)
        if values or step is not None:
            self._write("row", step=self._step(step), values=values)

    @measured
    def figure(self, key: str, figure: Any, *, step: int | None = None, caption: str | None = None) -> None:
        """Record a picture.

        Args:
            key: its name; the part before the first ``/`` groups it in the dashboard.
            figure: a matplotlib or plotly figure (drawn now, since it may change afterwards), or a
                :class:`autolog.capture.figures.Chart` (drawn later, off this thread).

        Raises:
            TypeError: something else.
            RunError: the run is finished.
        """
        from autolog.capture.figures import Chart, to_html

        self._check_open("figure")
        caption = None if caption is None else label(caption)
        record: Record = {"step": self._step_now(step), "key": _metric_key(key), "caption": caption}
        if isinstance(figure, Chart):
            chart = {"kind": figure.kind, "title": figure.title, "data": figure.data}
            self._write("chart", chart=chart, **record)
        else:
            self._write("html", text=to_html(figure), **record)

    @measured
    def table(
        self,
        key: str,
        rows: Any,
        *,
        columns: Iterable[str] | None = None,
        step: int | None = None,
    ) -> None:
        """Record a table.

        Args:
            key: its name.
            rows: a list of dicts, a list of lists with ``columns``, or a pandas or polars DataFrame.

        Raises:
            TypeError: something else.
            RunError: the run is finished.
        """
        self._check_open("table")
        names: dict[Any, tuple[str, bool]] = {}  # the same ones in every row
        clean = [
            {
                names[name][0]: _cell(names[name][1], value)
                for name, value in row.items()
                if name in names or names.setdefault(name, (label(name), capture_params.is_secret(str(name))))
            }
            for row in _table_rows(key, rows, columns)
        ]
        heads = dict.fromkeys(name for row in clean for name in row)
        if any(row.keys() != heads.keys() for row in clean):
            # The dashboard takes the heads from the first row, and each row's cells in their order.
            clean = [{name: row.get(name) for name in heads} for row in clean]
        self._write("row", step=self._step_now(step), values={_metric_key(key): clean})

    @measured
    def artifact(
        self,
        path: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
        name: str | None = None,
        *,
        type: str = "file",
        aliases: Iterable[str] = (),
        reference: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Record files as a version of an artifact. They are copied off this thread.

        Args:
            path: a file or folder, or a mapping of names inside the artifact to files.
            name: of the artifact; the file's name if it is not given. Letters, digits, ``.``, ``_``, ``-``;
                others become ``-``.
            type: ``model``, ``dataset``, ``code``, ...
            aliases: names that point to this version from now on, e.g. ``best``.
            reference: record where the file is, without a copy of it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no file at all.
            RunError: the run is finished.
        """
        self._check_open("artifact")
        aliases = [aliases] if isinstance(aliases, str) else list(aliases)
        files = (
            {str(inside): Path(file) for inside, file in path.items()}
            if isinstance(path, Mapping)
            else {Path(path).name: Path(path)}
        )
        if not files:
            raise ValueError("artifact: no files. Give a file, a folder, or a mapping of names to files.")
        for file in files.values():
            if not file.exists():
                raise FileNotFoundError(f"artifact: there is no {os.fspath(file)!r}.")
        plain = {label(inside): file.resolve() for inside, file in files.items()}
        kept = {} if reference else self._kept(plain)
        self._write(
            "artifact",
            name=_artifact_name(name or next(iter(files))),
            type=label(type) or "file",
            files={inside: str(file) for inside, file in kept.items()},
            references={inside: file.as_uri() for inside, file in plain.items()} if reference else {},
            aliases=[_artifact_name(alias) for alias in aliases],
            metadata=capture_params.sanitize(dict(metadata or {})),
            staged=bool(kept) and kept is not plain,
        )

    @measured
    def alert(
        self, title: str, text: str | None = None, *, level: str = "warn", step: int | None = None
    ) -> None:
        """Record something a person should see: it is listed on the dashboard's alerts page.

        Args:
            level: ``info``, ``warn`` or ``error``.

        Raises:
            ValueError: another level.
            RunError: the run is finished.
        """
        if level not in LEVELS:
            raise ValueError(f"alert: level={level!r}; expected one of {', '.join(LEVELS)}.")
        self._check_open("alert")
        self._write(
            "alert",
            title=label(title),
            text=None if text is None else label(text, 20_000),
            level=level,
            step=self._step_now(step),
        )

    @measured
    def tag(self, *tags: str) -> None:
        """Add tags to the run.

        Raises:
            TypeError: a tag that is no text.
            RunError: the run is finished.
        """
        self._check_open("tag")
        for tag in tags:
            if not isinstance(tag, str):
                raise TypeError(f"tag: {tag!r}; expected texts.")
        with self._lock:
            self._tags = [*dict.fromkeys([*self._tags, *(label(tag, 100) for tag in tags)])]
        self._config({"tags": list(self._tags)})

    @measured
    def child(self, name: str | None = None, *, config: Mapping[str, Any] | None = None) -> Run:
        """Open a run below this one. Use it in a ``with`` block, or finish it by hand."""
        from autolog.core.ownership import open_run

        return open_run(name, parent=self, config=config, by_user=not guard.inside_observer())

    @measured
    def finish(self, status: str = "finished") -> None:
        """End the run: nothing can be recorded to it by hand any more. Waits for no server.

        Args:
            status: ``finished``, ``failed``, ``killed``, ``pruned`` or ``crashed``.

        Raises:
            ValueError: another status.
            RunError: the run is finished already, or belongs to another process.
        """
        if status not in STATUSES[1:]:
            raise ValueError(f"finish: status={status!r}; expected one of {', '.join(STATUSES[1:])}.")
        self._check_open("finish")
        if self._pid != os.getpid() or self._joined:
            raise RunError(
                f"run {self.name!r} was opened by another process, which finishes it. "
                "Leave finish() out here; what this process logs to it is kept."
            )
        self._end(status)
        self._closed = True
        if self._sink is not None:
            self._sink.sync(self.settings.finish_timeout)

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed``, ``killed``, ``pruned`` or ``crashed``."""
        return self._status

    @property
    def url(self) -> str | None:
        """Where a person looks at it (locally: while ``trackio show`` runs); None if nowhere."""
        return self._sink.url(self.project, self.name, self.id) if self._sink is not None else None

    @property
    def destination(self) -> tuple[str, str]:
        """The kind of place it goes to (``local``, ``server``, ``space``), and which one."""
        return self._destination

    @property
    def is_local(self) -> bool:
        """Whether it stays on this machine."""
        return self._destination[0] == "local"

    @property
    def records(self) -> bool:
        """Whether it records anything: not when autolog is switched off by the environment."""
        return self._sink is not None

    @property
    def is_left_open(self) -> bool:
        """Whether a hook opened it and nothing goes on in it now: a loop of ``partial_fit``, say."""
        return not self.opened_by_user and not self.is_training

    @property
    def outermost(self) -> Run:
        """The run at the top of those that enclose this one."""
        return self if self.parent is None else self.parent.outermost

    def is_below(self, other: Run) -> bool:
        """Whether it is a child of the other one, or a child's child."""
        return self.parent is not None and (self.parent is other or self.parent.is_below(other))

    @property
    def last_step(self) -> int:
        """The last step that was logged; 0 if there was none."""
        return max(self._next_step - 1, 0)

    def __enter__(self) -> Run:
        from autolog.core.ownership import enter

        self._exits.append(enter(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.pop()()
        if error is not None:
            with shield("recording how a run ended"):
                self._note_error(error)
        if not self._closed and self._pid == os.getpid() and not self._joined:
            try:
                self.finish(status_of(error))
            except RunError:
                if not self._closed:  # else a signal handler has just finished it
                    raise

    def __repr__(self) -> str:
        return f"<autolog.Run {self.name!r} in {self.project!r}: {self._status}>"

    def __deepcopy__(self, memo: Any) -> Run:
        return self  # whoever copies what writes to it (KerasTuner copies callbacks) writes to the same run

    def __reduce__(self) -> Any:
        # A run that is pickled to another process is the same run there.
        from autolog.core.ownership import run_of_ticket

        return run_of_ticket, (self.ticket(),)

    # What only autolog's own rooms call -----------------------------------------------------------

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Metrics of a step as :meth:`log` records them, by a shorter way: all are numbers of Python's."""
        named = {}
        for name, value in values.items():
            named[_keys.get(name) or _metric_key(name)] = value
        self._write("row", step=self._step(step), values=named)

    def describe(self, values: Mapping[str, Any]) -> None:
        """Add keys to the top level of the config."""
        guard.charge(self)
        self._config(capture_params.sanitize(dict(values)))  # whole: a key may tell a secret

    def keeps(self, kind: str) -> bool:
        """Whether this kind of private record (``data``, ``predictions``, ``code``) may be recorded.

        On this machine it may; to a server or Space it goes only if ``Settings.share`` names it.
        """
        assert kind in SHAREABLE
        return self.is_local or kind in self.settings.share

    @property
    def is_adopted(self) -> bool:
        """Whether it is a Trackio run of the user's own."""
        return self._ambient is not None

    @property
    def is_claimed(self) -> bool:
        """Whether a training has written in place already."""
        return self._claimed

    def evaluation(self, name: str, result: Evaluation, *, step: int | None = None) -> None:
        """Metrics, tables and pictures of one evaluation, under the name of its data (``val``, ``test``)."""
        step = self.last_step if step is None else step
        self.log({f"{name}/{key}": value for key, value in result.metrics.items()}, step=step)
        for note in result.notes:
            self.note(name, note)
        self.pictures(name, result, step=step)

    def pictures(self, name: str, result: Evaluation, *, step: int | None = None) -> None:
        """The tables and pictures of one evaluation."""
        # The dashboard shows the last first: what is longest stands below.
        for key, rows in sorted(result.tables.items(), key=lambda table: table[0] != "best_and_worst"):
            if key == "best_and_worst" and not self.keeps("predictions"):
                why = "not sent to the server: Settings.share does not name 'predictions'"
                self.note(f"{name}/best_and_worst", why)
                continue
            # Two things under one key would hide each other in the dashboard.
            self.long_table(f"{name}/{key}{'_counts' if key in result.charts else ''}", rows, step=step)
        for key, chart in result.charts.items():
            self.figure(f"{name}/{key}", chart, step=step)

    def page(self, key: str, text: str, *, caption: str | None = None) -> None:
        """A whole page of HTML that needs no network, beside the pictures."""
        self._write("html", text=text, step=self._step_now(None), key=_metric_key(key), caption=caption)

    def go_on(self) -> None:
        """It had ended, and what it is of goes on: the next end is its end."""
        if self._status == "running":
            return
        from autolog.core import ending

        self._status, self._ended = "running", None
        self._announce()
        self._config({"status": "running", "error": None})
        ending.remember(self)

    def at_end(self, last_words: Callable[[], None]) -> None:
        """Call this when the run ends, before its end is recorded."""
        self._last_words.append(last_words)

    def claim(self) -> bool:
        """Whether a training may write in place: the first one in a run that somebody else opened."""
        with self._lock:
            claimed, self._claimed = self._claimed, True
            return not claimed

    def add_child(self, child: Run) -> None:
        """List a child; the group of both is the outermost run's name."""
        with self._lock:
            self._children += 1
            if self._children <= 100:  # each knows its parent; a longer list would be written ever again
                self._first_children.append(child.id)
            values: dict[str, Any] = {"children": list(self._first_children)}
            if self._children > 100:
                values = {"children/count": self._children}
        if self.parent is None and self.group is None and self._ambient is None:
            self.group = values["group"] = self.name
        self._config(values)

    def long_table(
        self, key: str, rows: list[dict[str, Any]], *, shown: int | None = None, step: int | None = None
    ) -> None:
        """A table whose first rows are shown, and the whole of which is kept in a file if there are more."""
        shown = ROWS_SHOWN if shown is None else min(shown, ROWS_SHOWN)
        brief = [{name: _brief(value) for name, value in row.items()} for row in rows[:shown]]
        self.table(key, brief, step=step)
        if len(rows) > shown:
            self.note(key, f"the first {shown} of {len(rows):,} rows; all are in the artifact")
            path = self.stage(f"{_artifact_name(key)}.csv")
            names = list(dict.fromkeys(name for row in rows for name in row))
            with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
                writer = csv.writer(file)
                writer.writerow([label(name) for name in names])
                secret = {name: capture_params.is_secret(str(name)) for name in names}
                writer.writerows([_cell(secret[name], row.get(name)) for name in names] for row in rows)
            self.staged_artifact(key, "table", {path.name: path}, {"rows": len(rows)})

    def note(self, what: str, why: str) -> None:
        """Say in the run what is missing from it, and why."""
        with self._lock:
            before = self._notes.get(what)
            if before is not None and why in before:
                return
            self._notes[what] = (f"{before}; {why}" if before else why)[:1_000]
            notes = dict(list(self._notes.items())[:100])
        self._config({"autolog/notes": notes})

    def note_no_more(self, what: str) -> None:
        """What was said to be missing is there now."""
        with self._lock:
            if self._notes.pop(what, None) is None:
                return
            notes = dict(self._notes)
        self._config({"autolog/notes": notes})

    def note_fault(self, message: str) -> None:
        """Say in the run that a fault of ours cost it a record."""
        with self._lock:
            self._faults.append(message[:500])
            if len(self._faults) > 20:
                return
            faults = list(self._faults)
        self._config({"autolog/faults": faults})

    def stage(self, name: str) -> Path:
        """A path for a file that is handed to :meth:`staged_artifact` once it is written."""
        if self._sink is None:
            raise RunError("a run that records nothing has no place for files")
        folder = self._folder(self._sink) / os.urandom(4).hex()  # others write to the same run, too
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def staged_artifact(
        self,
        name: str,
        kind: str,
        files: Mapping[str, Path],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Record files of ours as an artifact; they are deleted once they are delivered."""
        self._write(
            "artifact",
            name=_artifact_name(name),
            type=kind,
            files={inside: str(path) for inside, path in files.items()},
            references={},
            aliases=[],
            metadata=capture_params.sanitize(dict(metadata or {})),
            staged=True,
        )

    def checkpoint(self, path: str | os.PathLike[str], aliases: Iterable[str]) -> None:
        """A checkpoint that a framework has saved: a folder, or a large file, by reference."""
        file = Path(path)
        large = file.is_dir() or file.stat().st_size > self.settings.artifact_limit
        self.artifact(file.resolve(), "checkpoint", type="checkpoint", aliases=aliases, reference=large)

    def system(self, values: dict[str, float]) -> None:
        """Record the machine's load."""
        self._write("system", values=values)

    # How it is done -------------------------------------------------------------------------------

    def _write(self, kind: str, **fields: Any) -> None:
        if self._sink is None:
            return
        guard.charge(self)
        if self._pid != os.getpid():
            self._go_on_in_child()
        if not self._announced and kind != "open":
            with self._lock:  # threads of a child may log their first records at the same time
                if not self._announced:
                    self._announce()
        self._sink.write(
            {
                "kind": kind,
                "run": self.id,
                "id": f"{self._id_prefix}{next(self._ids)}",
                "time": time.time(),
                **fields,
            }
        )

    def _go_on_in_child(self) -> None:
        """A forked child: the same run, in this process' own journal."""
        with _at_fork:
            if self._pid != os.getpid():
                self._joined, self._announced = True, False
                self._lock = threading.RLock()
                self._pid = os.getpid()  # last: whoever sees it sees the rest

    def _announce(self) -> None:
        if self._joined or self.resumed or self._shared:
            # Ids must not meet those that others have given to the same run.
            self._id_prefix = f"{self.id}-{os.urandom(3).hex()}-"
        self._write(
            "open",
            project=self.project,
            name=self.name,
            group=self.group,
            parent=self.parent.id if self.parent is not None else None,
            to=list(self._destination),
            adopted=self._ambient is not None,
            joined=self._joined,
            resumed=self.resumed,
            shared=self._shared,
        )
        self._announced = True

    def ticket(self) -> dict[str, Any]:
        """What another process needs to write to this run: plain values, which any pickler takes."""
        return {
            "id": self.id,
            "pid": os.getpid(),
            "name": self.name,
            "project": self.project,
            "group": self.group,
            "destination": self._destination,
            "recorded": self.records and self.settings.sink == "trackio",
            "settings": {
                item.name: getattr(self.settings, item.name)
                for item in dataclasses.fields(self.settings)
                if item.name not in ("sink", "write_token")
            },
        }

    def _config(self, values: dict[str, Any]) -> None:
        if self._ambient is not None:
            # All of it as it stands now: the last config that is written replaces his own.
            self._ambient.add_config(values)
            values = capture_params.sanitize(dict(self._ambient.config))
        if not isinstance(values, dict):  # what could not be read at all is a text that says why
            raise TypeError(f"a config of names and values was expected, not {values!r:.300}")
        if values:
            self._write("config", values=values)

    def _step(self, step: int | None) -> int:
        if step is None:
            with self._lock:
                self._next_step += 1
                return self._next_step - 1
        if type(step) is not int or not 0 <= step < 2**63:
            step = _whole_step(step)
        if step >= self._next_step:
            with self._lock:
                self._next_step = max(self._next_step, step + 1)
        return step

    def _step_now(self, step: int | None) -> int:
        """Pictures, tables and alerts are of the last step that was logged; only metrics make a new one."""
        return self.last_step if step is None else self._step(step)

    def _folder(self, sink: Sink) -> Path:
        """Where its files wait; not among those that it had before it was gone on with."""
        return sink.stage(f"{self.id}-{self.resumed}" if self.resumed else self.id)

    def _kept(self, files: dict[str, Path]) -> dict[str, Path]:
        """The files under names of our own (a second link, no copy): the user may delete his right away."""
        if self._sink is None or not all(file.is_file() for file in files.values()):
            return files
        folder = self._folder(self._sink)
        kept: dict[str, Path] = {}
        try:
            for inside, file in files.items():
                kept[inside] = folder / f"{os.urandom(4).hex()}-{file.name}"[-200:]
                os.link(file, kept[inside])
        except OSError:  # another disk: then they are copied when they are delivered, from where they are
            return files
        return kept

    def _flatten(
        self, metrics: Mapping[str, Any], prefix: str, values: dict[str, Any], depth: int = 0
    ) -> None:
        if depth > 10:
            raise TypeError("log: mappings nested more than ten deep; expected names and numbers.")
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"log: expected a mapping of names to numbers, got {type(metrics).__name__}. "
                'Write run.log({"loss": 0.1}).'
            )
        for name, value in metrics.items():
            key = f"{prefix}{name}"
            if type(value) is float or (type(value) is int and -(2**63) <= value < 2**63):
                values[_keys.get(key) or _metric_key(key)] = value
            elif isinstance(value, Mapping):
                self._flatten(value, f"{key}/", values, depth + 1)
            else:
                try:
                    values[_metric_key(key)] = capture_params.metric(value)
                except TypeError as error:
                    if not guard.inside_observer():
                        raise TypeError(
                            f"log: {key!r} is no number: {error}. For pictures, tables and files use "
                            "run.figure, run.table and run.artifact."
                        ) from None
                    self.note(key, f"not recorded: {error}")

    def _text_file(self, name: str, text: str) -> None:
        path = self.stage(_artifact_name(name)[:100] + ".txt") if self._sink is not None else None
        if path is not None:
            path.write_text(text, encoding="utf-8", errors="replace")
            self.staged_artifact(f"text-{name}", "text", {path.name: path})

    def _check_open(self, what: str) -> None:
        # Evaluation after the end goes on in the run: observers may write to it, the user may not.
        if self._closed and not guard.inside_observer():
            raise RunError(
                f"{what}: run {self.name!r} is already finished (status {self._status!r}). "
                "Open another one with autolog.run(), or move this call inside its with block."
            )

    def _end(self, status: str) -> None:
        while self._last_words:
            with shield("what a run records at its end"):
                guard.charge(self)
                self._last_words.pop(0)()
        self._status = status
        self._ended = time.time()
        self._report_overhead()
        if self._ambient is None:
            self._config({"status": status})
            self._write("finish", status=status)
        self._when_ended(self)

    def _report_overhead(self) -> None:
        """What we cost the caller in this run so far. Whoever delivers it adds its CPU time."""
        if self._sink is None:
            return
        seconds = self.overhead_seconds + guard.spent_here()
        whole = max((self._ended or time.time()) - self._started, 1e-9)
        self._config(
            {
                "autolog/overhead_seconds": round(seconds, 6),
                "autolog/overhead_percent": round(100 * seconds / whole, 2),
            }
        )

    def _note_error(self, error: BaseException) -> None:
        if isinstance(error, Exception) and not _is_one_of(_PRUNED | _STOPPED, error):
            text = _account_of(error)
            self.alert(f"{self.name} failed: {type(error).__name__}", text, level="error")
            self.describe({"error": f"{type(error).__name__}: {error}"[:500]})


# Small things ---------------------------------------------------------------------------------------


def status_of(error: BaseException | None) -> str:
    """The status that fits how a call ended."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    if _is_one_of(_PRUNED, error):
        return "pruned"
    is_killed = isinstance(error, (KeyboardInterrupt, GeneratorExit)) or _is_one_of(_STOPPED, error)
    return "killed" if is_killed else "failed"


# No failures: Optuna's way to leave a training that promises little; what ZenML makes of Ctrl-C and SIGTERM,
# and of somebody who stops a step from afar.
_PRUNED = {("optuna.exceptions", "TrialPruned")}
_STOPPED = {
    ("zenml.exceptions", "RunInterruptedException"),
    ("zenml.exceptions", "RunStoppedException"),
    ("zenml.steps.heartbeat", "StepHeartBeatTerminationException"),
}


def _is_one_of(names: set[tuple[str, str]], error: BaseException) -> bool:
    """Whether an exception is of a class of these names, whose module is perhaps not installed."""
    return not names.isdisjoint((kind.__module__, kind.__name__) for kind in type(error).__mro__)


def _account_of(error: Exception) -> str:
    """What happened, first, then where: the user's frames and the framework's, not ours."""
    story = traceback.TracebackException.from_exception(error, limit=50)
    ours = os.path.dirname(os.path.dirname(__file__)) + os.sep
    # A framework's call that we watch ends in our frames; who called it stands above them.
    callers = traceback.extract_stack()[-40:]
    frames = [f for f in (*callers, *story.stack) if not f.filename.startswith((ours, "<autolog"))]
    places = {(f.filename, f.name): n for n, f in enumerate(frames)}  # the last sight of each is the nearest
    frames = [f for n, f in enumerate(frames) if places[f.filename, f.name] == n][-12:]
    where = "".join(traceback.StackSummary.from_list(frames).format())
    return f"{type(error).__name__}: {error}"[:2_000] + f"\n\n{where[-8_000:]}"


def plain_run_name(name: str) -> str:
    """A run's name as a folder of Trackio's media can bear it: no separators, no dots in front.

    Trackio decodes the path of a file once more than a browser encodes it, so ``%2e`` would be a dot.
    """
    plain = re.sub(r"[\x00-\x1f\x7f/\\]+|%(?=[0-9A-Fa-f]{2})", "-", label(name).strip()).lstrip(".")
    return plain.encode()[:200].decode(errors="ignore").strip() or "run"


def without_underscores(config: Mapping[str, Any]) -> dict[str, Any]:
    """Trackio keeps config keys that begin with ``_`` for itself."""
    return {key.lstrip("_") or "value": value for key, value in config.items()}


def _whole_step(step: Any) -> int:
    """A step as SQLite takes it."""
    try:
        number = step if type(step) is int else capture_params.metric(step)
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"step={step!r}: expected a whole number.") from None
    if whole != number:
        raise TypeError(f"step={step!r}: expected a whole number.")
    if not 0 <= whole < 2**63:
        raise ValueError(f"step={step}: expected a step that is not negative and fits into 64 bits.")
    return whole


_keys: dict[Any, str] = {}


def _metric_key(key: Any) -> str:
    """A metric's name as Trackio takes it; the same few names come at every step, so they are kept."""
    known = _keys.get(key) if isinstance(key, str) else None
    if known is None:
        known = _clean_key(label(key))
        if isinstance(key, str) and len(_keys) < 10_000:
            _keys[key] = known
    return known


def _clean_key(key: str) -> str:
    key = key if key.strip() else "unnamed"
    return f"__{key}" if key in _RESERVED_METRICS or key.startswith("__") else key


def _artifact_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", label(name)).strip("-")[:120] or "artifact"
    return f"{plain}-" if re.fullmatch(r"v\d+", plain) else plain


def _table_rows(key: str, rows: Any, columns: Iterable[str] | None) -> list[Mapping[str, Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        try:
            rows = rows.to_dict(orient="records")  # pandas
        except TypeError:
            rows = rows.to_dicts()  # polars
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise TypeError(
            f"table {key!r}: expected a list of dicts, a list of lists with columns=, or a DataFrame; "
            f"got {type(rows).__name__}."
        )
    names = None if columns is None else [str(column) for column in columns]
    result: list[Mapping[str, Any]] = []
    for row in rows:
        if isinstance(row, Mapping):
            result.append(row)
        elif isinstance(row, (list, tuple)) and names is not None and len(row) == len(names):
            result.append(dict(zip(names, row, strict=False)))
        else:
            raise TypeError(
                f"table {key!r}: a row is {type(row).__name__} {str(row)[:80]}; expected dicts, or lists "
                f"as long as columns= ({len(names) if names is not None else 'not given'})."
            )
    return result


def _brief(value: Any) -> Any:
    """A number as a person reads it."""
    return float(f"{value:.7g}") if isinstance(value, float) and math.isfinite(value) else value


def _cell(is_secret: bool, value: Any) -> Any:
    if is_secret:
        return capture_params.REDACTED
    if type(value) in (float, bool) or (type(value) is int and abs(value) < 2**63):
        return value
    return capture_params.sanitize(value, limit=2_000)
