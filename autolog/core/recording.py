"""A run as autolog's rooms (one per framework) write to it. The user has a :class:`autolog.core.run.Run`.

A room is trusted: nothing is checked that a room gets right anyway, and what it writes after the run's end
(an evaluation, say) goes on in the run.
"""

from __future__ import annotations

import dataclasses
import os
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from autolog.capture.params import label, metric, sanitize
from autolog.capture.summary import MORE
from autolog.core import statuses
from autolog.core.cells import clean_table, flatten, whole_step
from autolog.core.notes import Notes
from autolog.core.settings import SHAREABLE, Settings
from autolog.core.writer import Ticket, Writer
from autolog.process import guard
from autolog.process.guard import shield
from autolog.sinks import UNSHOWN_TABLE, Sink
from autolog.sinks.identity import Identity
from autolog.sinks.trackio.names import artifact_name, known_metric_keys, metric_key, without_underscores

if TYPE_CHECKING:
    from autolog.core.run import Run

__all__ = ["Keeper", "Recording"]

MOST_CHILDREN = 100  # that are listed: a longer list would be written ever again, and each knows its parent
SHORT_SECONDS = 10.0  # of a run that is no longer a percentage says nothing


class Keeper(Protocol):
    """Whoever keeps the runs of this process: what a run asks of it."""

    @property
    def rejoin(self) -> Callable[[Ticket], Recording]:
        """The run in another process: a function of a module, so that it can be pickled."""

    def child(
        self, parent: Recording, name: str | None, config: Mapping[str, Any] | None, by_user: bool
    ) -> Recording:
        """Open a run below this one."""

    def enter(self, run: Recording) -> Callable[[], None]:
        """Make it the current run; returns how to leave."""

    def went_on(self, run: Recording) -> None:
        """It had ended, and is running again."""

    def ended(self, run: Recording) -> None:
        """It has ended."""


class Recording(Writer):
    """One training, or whatever the user wants to see as one.

    Attributes:
        parent: the run that this one is a child of, or None.
        opened_by_user: whether a person opened it, rather than a hook.
        is_training: whether a training goes on in it now.
        trainings: of the model that it is of, so far.
        kept_step: the step of the model that was kept, if that is not the last one.
        status: ``running``, ``finished``, ``failed``, ``killed``, ``pruned`` or ``crashed``.
        is_closed: whether the user has finished it.
        exits: how to leave the ``with`` blocks that the user has entered with it.
        wants_report: whether the user has asked for one, see :meth:`autolog.Run.report`.
        is_told: whether a line is printed of it: not of one below another, nor where nobody looks at it.
        latest: the last value of each metric that this process has logged.
        main: the set by which a person judges it, if they have said so.
        left_out: names that the user logs values under which nobody takes, as they were told.
        top: what the user has given for the top level of its config, as it was given.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        sink: Sink | None,
        settings: Settings,
        keeper: Keeper,
        face: Callable[[Recording], Run],
        parent: Recording | None = None,
        ambient: Any = None,
        opened_by_user: bool = False,
        tags: Iterable[str] = (),
    ):
        self.parent = parent
        self.opened_by_user = opened_by_user
        self.is_training = False
        self.trainings = 0
        self.kept_step: int | None = None
        self.status = "running"
        self.is_closed = False
        self.exits: list[Callable[[], None]] = []
        self.is_told = False
        self.wants_report = False
        self.latest: dict[str, Any] = {}
        self.main: str | None = None
        self.tags = list(tags)
        self._keeper = keeper
        self._make_face = face
        self._face: Run | weakref.ref[Run] | None = None
        self._ambient = ambient
        self._is_claimed = False
        self._next_step = 0
        self._started = time.time()
        self._ended: float | None = None
        self._children = 0
        self._first_children: list[str] = []
        self._params: dict[str, dict[str, Any]] = {}
        self._notes = Notes()
        self._once: dict[str, tuple[int, float | str] | None] = {}  # by key; None: it is a row by now
        self.left_out: set[str] = set()
        self.top: dict[str, Any] = {}
        self._last_words: list[Callable[[], None]] = []
        super().__init__(identity, sink=sink, settings=settings)

    # Whose it is ------------------------------------------------------------------------------------

    @property
    def face(self) -> Run:
        """The run as a user has it: the same object as long as the run is open, or the user keeps it."""
        face = self._face() if isinstance(self._face, weakref.ref) else self._face
        if face is None:
            face = self._make_face(self)
            self._face = face if self.status == "running" else weakref.ref(face)
        return face

    def face_as(self, kind: Callable[[Recording], Run]) -> Run:
        """The run as a user has it, of this kind from now on."""
        self._make_face = kind
        return self.face

    @property
    def is_left_open(self) -> bool:
        """Whether a hook opened it and nothing goes on in it now: a loop of ``partial_fit``, say."""
        return not self.opened_by_user and not self.is_training

    @property
    def is_adopted(self) -> bool:
        """Whether it is a Trackio run of the user's own."""
        return self._ambient is not None

    @property
    def samples_itself(self) -> bool:
        """Whether Trackio records the machine's load in it, of its own accord."""
        return self._ambient is not None and self._ambient.samples_itself

    @property
    def ambient(self) -> Any:
        """The Trackio run of the user's own that it writes to (``AmbientRun``); None: it is one of ours."""
        return self._ambient

    @property
    def is_claimed(self) -> bool:
        """Whether a training has written in place already."""
        return self._is_claimed

    @property
    def outermost(self) -> Recording:
        """The run at the top of those that enclose this one."""
        return self if self.parent is None else self.parent.outermost

    def is_below(self, other: Recording) -> bool:
        """Whether it is a child of the other one, or a child's child."""
        return self.parent is not None and (self.parent is other or self.parent.is_below(other))

    def align(self, step: int) -> None:
        """What another integration is about to log to its run, that we have adopted, is of this step."""
        if self._ambient is not None:
            self._ambient.go_to(step)

    def claim(self) -> bool:
        """Whether a training may write in place: the first one in a run that somebody else opened."""
        with self.lock:
            claimed, self._is_claimed = self._is_claimed, True
            return not claimed

    def child(
        self, name: str | None = None, *, config: Mapping[str, Any] | None = None, by_user: bool = False
    ) -> Recording:
        """Open a run below this one."""
        return self._keeper.child(self, name, config, by_user)

    def add_child(self, child: Recording) -> None:
        """List a child; the group of both is the outermost run's name."""
        with self.lock:
            self._children += 1
            if self._children <= MOST_CHILDREN:
                self._first_children.append(child.id)
            values: dict[str, Any] = {"children": list(self._first_children)}
            if self._children > MOST_CHILDREN:
                values = {"children/count": self._children}
            if self.parent is None and self.group is None and not self.is_adopted:
                self.identity = dataclasses.replace(self.identity, group=self.name)
                values["group"] = self.name
        self.put(values)

    def enter(self) -> Callable[[], None]:
        """Make it the current run; returns how to leave."""
        return self._keeper.enter(self)

    # Recording --------------------------------------------------------------------------------------

    def params(self, values: Mapping[str, Any], *, prefix: str = "params") -> None:
        """Record hyperparameters: into the config, under ``prefix``, beside those of earlier calls.

        Args:
            values: names to anything. What JSON does not know becomes its repr or qualified name, a long
                text is shortened, a secret (by its name or shape) becomes ``***``.
            prefix: the config key that holds them; ``""`` puts them at the top level.
        """
        overflow: dict[str, str] = {}
        clean = sanitize(dict(values), overflow=overflow)
        if prefix:  # with what was recorded under it before: a config's key is replaced as a whole
            with self.lock:
                clean = self._params[prefix] = {**self._params.get(prefix, {}), **clean}
            self.put({prefix: clean})
        else:
            self.top.update(values)
            self.put(without_underscores(clean))
        for path, text in overflow.items():
            self._text_file("/".join(part for part in (prefix, path) if part), text)

    def known_params(self, prefix: str = "params") -> Mapping[str, Any]:
        """What was recorded as hyperparameters so far."""
        return self._params.get(prefix, {})

    def describe(self, values: Mapping[str, Any]) -> None:
        """Add keys to the top level of the config."""
        guard.charge(self)
        self.put(sanitize(dict(values)))  # whole: a key may tell a secret

    def put(self, values: dict[str, Any]) -> None:
        """Add keys to the config, or replace them there: plain values, as they are stored."""
        if self._ambient is not None:
            # All of it as it stands now: the last config that is written replaces the user's own.
            self._ambient.add_config(values)
            values = sanitize(dict(self._ambient.config))
        if not isinstance(values, dict):  # what could not be read at all is a text that says why
            raise TypeError(f"a config of names and values was expected, not {values!r:.300}")
        if values:
            self.write("config", values=values)

    def log(self, metrics: Mapping[str, Any], *, step: int | None = None) -> None:
        """Record metrics at a step. What is no number is left out, and a note says so.

        Args:
            metrics: names to numbers (Python, NumPy, torch and JAX scalars too); nested mappings are joined
                by ``/``.
            step: the optimizer's global step, not negative. None: one more than the last.
        """
        values: dict[str, Any] = {}
        others: list[str] = []
        flatten(metrics, "", values, others)
        for key in dict.fromkeys(others):
            try:
                values[key] = metric(values[key])
            except TypeError as error:
                del values[key]
                self.note(key, f"not recorded: {error}")
        if values or step is not None:
            self.write("row", step=self.step(step), values=values)
            self.latest.update(values)

    @property
    def charted(self) -> set[str]:
        """The keys of metrics that have rows."""
        return {key for key in self.latest if self._once.get(key) is None}

    def log_once(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Metrics that mostly come once: a chart of a single bar says less than a line of the config.

        One that comes again is a row each time, the first one too.
        """
        again = {}
        with self.lock:
            for key, value in metrics.items():
                if key not in self._once:
                    self._once[key] = self.step(step), metric(value)
                else:
                    again[key], self._once[key] = self._once[key], None
            alone = {key: once[1] for key, once in self._once.items() if once is not None}
        if len(again) < len(metrics) or any(again.values()):
            self.put({MORE: alone})
        for key, first in again.items():
            if first is not None:
                self.log({key: first[1]}, step=first[0])
        if again:
            self.log({key: metrics[key] for key in again}, step=step)
        self.latest.update({key: value for key, value in alone.items() if key in metrics})

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Metrics of a step as :meth:`log` records them, by a shorter way: all are numbers of Python's."""
        named = {}
        for name, value in values.items():
            named[known_metric_keys.get(name) or metric_key(name)] = value
        self.write("row", step=self.step(step), values=named)
        self.latest.update(named)

    def figure(self, key: str, figure: Any, *, step: int | None = None, caption: str | None = None) -> None:
        """Record a picture.

        Args:
            key: its name; the part before the first ``/`` groups it in the dashboard.
            figure: a matplotlib or plotly figure (drawn now, since it may change afterwards), or a
                :class:`autolog.capture.figures.Chart` (drawn later, off this thread).

        Raises:
            TypeError: something else.
        """
        from autolog.capture.figures import Chart, to_html

        caption = None if caption is None else label(caption)
        where: dict[str, Any] = {"step": self.step_now(step), "key": metric_key(key), "caption": caption}
        if isinstance(figure, Chart):
            if not self._can_draw():
                return
            chart = {"kind": figure.kind, "title": figure.title, "data": figure.data}
            self.write("chart", chart=chart, **where)
        else:
            self.write("html", text=to_html(figure), **where)

    def words(self, markdown: str) -> None:
        """Record what the user says of it, in Trackio's form of Markdown."""
        words = {"_type": "trackio.markdown", "_value": label(markdown, 100_000)}
        self.write("row", step=self.last_step, values={"report": words}, as_stored=True)

    def made(self, key: str, by: str, given: dict[str, Any]) -> None:
        """Record pictures and tables that take long to make: they are made where pictures are drawn.

        Args:
            key: what they are together called.
            by: the function that makes them, see :func:`autolog.capture.made.make`.
            given: plain data for it: texts, numbers that are finite, lists and mappings of them.
        """
        self._can_draw()
        self.write("made", step=self.last_step, key=key, by=by, given=given)

    def _can_draw(self) -> bool:
        """Whether pictures will be drawn; if not, the run says so."""
        from autolog.capture.chart import NO_PICTURES, can_be_drawn

        if self.settings.sink != "trackio" or can_be_drawn():  # others get the data, and may
            return True
        self.note("pictures", f"left out: {NO_PICTURES}")
        return False

    def table(
        self,
        key: str,
        rows: Any,
        *,
        columns: Iterable[str] | None = None,
        step: int | None = None,
        has_picture: bool = False,
    ) -> None:
        """Record a table.

        Args:
            key: its name.
            rows: a list of dicts, a list of lists with ``columns``, or a pandas or polars DataFrame.
            has_picture: of all of it. If pictures can be drawn, the table is stored, but not shown.

        Raises:
            TypeError: something else.
        """
        clean = clean_table(key, rows, columns)
        stored = {"_type": UNSHOWN_TABLE, "_value": clean} if has_picture and self._can_draw() else clean
        self.write("row", step=self.step_now(step), values={metric_key(key): stored})

    def alert(
        self, title: str, text: str | None = None, *, level: str = "warn", step: int | None = None
    ) -> None:
        """Record something a person should see, with level ``info``, ``warn`` or ``error``."""
        self.write(
            "alert",
            title=label(title),
            text=None if text is None else label(text, 20_000),
            level=level,
            step=self.step_now(step),
        )

    def tag(self, *tags: str) -> None:
        """Add tags to the run."""
        with self.lock:
            self.tags = [*dict.fromkeys([*self.tags, *(label(tag, 100) for tag in tags)])]
        self.put({"tags": list(self.tags)})

    def system(self, values: dict[str, Any]) -> None:
        """Record the machine's load."""
        self.write("system", values=values)

    def artifact(
        self,
        path: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
        name: str | None = None,
        *,
        type: str = "file",
        aliases: Iterable[str] = (),
        reference: bool = False,
        metadata: Mapping[str, Any] | None = None,
        is_asked_for: bool = True,
    ) -> None:
        """Record files of the user's as a version of an artifact, see :meth:`autolog.Run.artifact`.

        Args:
            is_asked_for: by the user: then it is kept whatever is stored already.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no file at all.
        """
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
                raise FileNotFoundError(
                    f"artifact: there is no file or folder {os.fspath(file)!r} below {os.getcwd()!r}."
                )
        plain = {label(inside): file.resolve() for inside, file in files.items()}
        kept = {} if reference else self.kept(plain)
        self.write(
            "artifact",
            name=artifact_name(name or next(iter(files))),
            type=label(type) or "file",
            files={inside: str(file) for inside, file in kept.items()},
            references={inside: file.as_uri() for inside, file in plain.items()} if reference else {},
            aliases=[artifact_name(alias) for alias in aliases],
            metadata=sanitize(dict(metadata or {})),
            staged=bool(kept) and kept is not plain,
            **({} if is_asked_for else {"limit": self.settings.storage_limit}),
        )

    def artifact_of_parts(
        self,
        name: str,
        type: str,
        description: str | None,
        files: Mapping[str, Path],
        references: Mapping[str, str],
        metadata: Mapping[str, Any],
        aliases: Iterable[str],
    ) -> None:
        """Record an artifact as Trackio has it in memory: files by their names in it, and references."""
        kept = self.kept(dict(files)) if files else {}
        self.write(
            "artifact",
            name=artifact_name(name),
            type=label(type),
            **({} if description is None else {"description": description}),
            files={inside: str(file) for inside, file in kept.items()},
            references=dict(references),
            aliases=[artifact_name(alias) for alias in aliases],
            metadata=sanitize(dict(metadata)),
            staged=bool(kept) and kept != dict(files),
        )

    def staged_artifact(
        self,
        name: str,
        kind: str,
        files: Mapping[str, Path],
        metadata: Mapping[str, Any] | None = None,
        *,
        is_best: bool = False,
    ) -> None:
        """Record files of ours as an artifact; they are deleted once they are delivered.

        Args:
            is_best: it is the best model of several: where little may be stored, it comes before others.
        """
        optional: dict[str, Any] = {"is_best": True} if is_best else {}
        if kind == "model":  # what else we keep is small
            optional["limit"] = self.settings.storage_limit
        self.write(
            "artifact",
            name=artifact_name(name),
            type=kind,
            files={inside: str(path) for inside, path in files.items()},
            references={},
            aliases=[],
            metadata=sanitize(dict(metadata or {})),
            staged=True,
            **optional,
        )

    def checkpoint(
        self,
        path: str | os.PathLike[str],
        aliases: Iterable[str],
        row: Mapping[str, Any] | None = None,
        monitor: str | None = None,
    ) -> None:
        """A checkpoint that a framework has saved, a file or a folder: by reference if it is large.

        It is a version of an artifact of this run's own: ``best`` is the best of its run.

        Args:
            aliases: of ``best`` and ``last``.
            row: of the table of checkpoints: its step and epoch, and the score.
            monitor: the metric that the score is of, as the row calls it.
        """
        file, row = Path(path).resolve(), row or {}
        size = _bytes_in(file)
        facts = {"step": row.get("step"), "epoch": row.get("epoch"), "metric": monitor, "bytes": size}
        facts["score"] = row.get(monitor) if monitor is not None else None
        self.artifact(
            file,
            f"checkpoint-{self.name}",
            type="checkpoint",
            aliases=aliases,
            reference=size is None or size > self.settings.artifact_limit,
            metadata={name: fact for name, fact in facts.items() if fact is not None},
            is_asked_for=False,
        )

    def _text_file(self, name: str, text: str) -> None:
        if not self.records:
            return
        try:
            path = self.stage(artifact_name(name)[:100] + ".txt")
            path.write_text(text, encoding="utf-8", errors="replace")
        except OSError as error:  # a disk that takes nothing: its first part stands in the config
            self.note(name, f"not recorded whole: {error}")
            return
        self.staged_artifact(f"text-{name}", "text", {path.name: path})

    # Steps ------------------------------------------------------------------------------------------

    @property
    def last_step(self) -> int:
        """The last step that was logged; 0 if there was none."""
        return max(self._next_step - 1, 0)

    @property
    def step_of_model(self) -> int:
        """Where the numbers of its model stand: those of earlier steps are of another one."""
        return self.last_step if self.kept_step is None else self.kept_step

    def step(self, step: int | None) -> int:
        """The step of a row; None: the next one.

        Raises:
            TypeError, ValueError: see :func:`autolog.core.cells.whole_step`.
        """
        if step is None:
            with self.lock:
                self._next_step += 1
                return self._next_step - 1
        if type(step) is not int or not 0 <= step < 2**63:
            step = whole_step(step)
        if step >= self._next_step:
            with self.lock:
                self._next_step = max(self._next_step, step + 1)
        return step

    def step_now(self, step: int | None) -> int:
        """Pictures, tables and alerts are of the last step that was logged; only metrics make a new one."""
        return self.last_step if step is None else self.step(step)

    # What is missing --------------------------------------------------------------------------------

    def keeps(self, kind: str) -> bool:
        """Whether this kind of private record (``data``, ``predictions``, ``code``) may be recorded.

        On this machine it may; to a server or Space it goes only if ``Settings.share`` names it.
        """
        assert kind in SHAREABLE
        return self.is_local or kind in self.settings.share

    def note(self, what: str, why: str) -> None:
        """Say in the run what is missing from it, and why."""
        with self.lock:
            notes = self._notes.add(what, why)
        if notes is not None:
            self.put({"autolog/notes": notes})

    def note_lost(self, what: str, why: str) -> None:
        """Say in the run what was to be recorded and could not be: nobody has left it out on purpose."""
        self.note(what, f"lost: {why}")

    def note_no_more(self, what: str) -> None:
        """What was said to be missing is there now."""
        with self.lock:
            notes = self._notes.take_back(what)
        if notes is not None:
            self.put({"autolog/notes": notes})

    def note_fault(self, message: str) -> None:
        """Say in the run that a fault of ours cost it a record."""
        with self.lock:
            faults = self._notes.add_fault(message)
        if faults is not None:
            self.put({"autolog/faults": faults})

    def note_error(self, error: BaseException) -> None:
        """Say in the run how it has failed, if that is a failure."""
        if statuses.is_failure(error):
            text = _story_of(error)
            self.alert(f"{self.name} failed: {type(error).__name__}", text, level="error")
            self.describe({"error": f"{type(error).__name__}: {error}"[:500]})

    # Its end ----------------------------------------------------------------------------------------

    def at_end(self, last_words: Callable[[], None]) -> None:
        """Call this when the run ends, before its end is recorded."""
        self._last_words.append(last_words)

    def say_last_words(self) -> None:
        """Record what was kept for the end."""
        while self._last_words:
            with shield("what a run records at its end"):
                guard.charge(self)
                self._last_words.pop(0)()

    def end(self, status: str) -> None:
        """It has ended. Evaluations may still be recorded to it."""
        self.say_last_words()
        self.status = status
        self._ended = time.time()
        if self._face is not None and not isinstance(self._face, weakref.ref):
            self._face = weakref.ref(self._face)  # with a strong one each would keep the other
        self.report_overhead()
        last: dict[str, Any] = {"status": status}
        if not self.identity.adopted:  # there the user may have a word of their own under this name
            last["seconds"] = round(self.seconds, 3)
        self.put(last)
        self.write("finish", status=status)
        self._keeper.ended(self)

    def close(self, status: str) -> None:
        """It has ended, and nothing more can be recorded to it by hand."""
        self.end(status)
        self.is_closed = True
        self.sync()

    def go_on(self) -> None:
        """It had ended, and what it is of goes on: the next end is its end."""
        if self.status == "running":
            return
        self.status, self._ended = "running", None
        self.announce()
        self.put({"status": "running", "error": None})
        self._keeper.went_on(self)

    @property
    def seconds(self) -> float:
        """How long it has taken, until its end or until now."""
        return max((self._ended or time.time()) - self._started, 1e-9)

    def report_overhead(self) -> None:
        """What we cost the caller in this run so far. Whoever delivers it adds its CPU time."""
        if not self.records:
            return
        seconds = self.overhead_seconds + guard.spent_here()
        cost = {"autolog/overhead_seconds": round(seconds, 6)}
        if self.seconds > SHORT_SECONDS:
            cost["autolog/overhead_percent"] = round(100 * seconds / self.seconds, 2)
        self.put(cost)

    # Copies -----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<autolog.Run {self.name!r} in {self.project!r}: {self.status}>"

    def __deepcopy__(self, memo: Any) -> Recording:
        return self  # whoever copies what writes to it (KerasTuner copies callbacks) writes to the same run

    def __reduce__(self) -> Any:
        # A run that is pickled to another process is the same run there.
        return self._keeper.rejoin, (self.ticket(),)

    @property
    def said(self) -> tuple[dict[str, dict[str, Any]], Notes]:
        """Hyperparameters and notes so far. Each is written as a whole: see :meth:`go_on_from`."""
        return self._params, self._notes

    def go_on_from(self, said: tuple[dict[str, dict[str, Any]], Notes]) -> None:
        """In another process: what this run says is beside what was said before it came here."""
        self._params, self._notes = said


def _story_of(error: BaseException) -> str:
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


def _bytes_in(path: Path) -> int | None:
    """Of a file, or of all files in a folder; None: that cannot be told."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    except OSError:  # it is deleted meanwhile
        return None
