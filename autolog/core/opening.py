"""Opening runs: by hand and by hooks; the run that records nothing."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar, cast

from autolog.capture.params import label, sanitize
from autolog.core import current, ending, hooked, live, outlet, reports, started, surroundings, telling
from autolog.core import settings as settings_module
from autolog.core.current import innermost
from autolog.core.recording import Keeper, Recording
from autolog.core.run import Run, recording_of
from autolog.core.settings import Settings, check_project, default_project, destination_of
from autolog.core.writer import RunError, Ticket
from autolog.sinks.identity import Identity, in_words
from autolog.sinks.trackio.names import plain_run_name, without_underscores

__all__ = [
    "Opening",
    "begin",
    "current_run",
    "given_run",
    "last_run",
    "make",
    "open_run",
    "rejoin",
    "run",
    "silent_run",
]

F = TypeVar("F", bound=Callable[..., Any])

Face = Callable[[Recording], Run]


def open_run(
    name: str | None = None,
    *,
    project: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    config: Mapping[str, Any] | None = None,
    parent: Recording | None = None,
    by_user: bool = True,
    subject: str = "run",
    shared_id: str | None = None,
    settings: Settings | None = None,
    face: Face = Run,
    framework: str | None = None,
) -> Recording:
    """Open a run. It is nobody's current run until it is entered.

    Args:
        parent: the run that it becomes a child of; project, group, tags and destination come from there.
        by_user: whether a person opened it, rather than a hook.
        subject: what the made-up name begins with: see :func:`autolog.capture.titles.title`.
        shared_id: its id, if several processes write to it at the same time, each as its owner.
        settings: None: those in force.
        face: a room's own kind of run, with names that its users expect.
        framework: whose run it is, as the catalogue names it, where no training begins in it at once.

    Raises:
        SettingError: a project name that Trackio refuses, a wrong setting in the environment.
    """
    settings = settings or settings_module.current()
    run_id = shared_id or uuid.uuid4().hex
    if parent is not None:
        project = project or parent.project
        group = group or parent.outermost.group or parent.outermost.name
    own_name = settings.run_name if parent is None else None
    group = group or settings.group
    tags = [label(tag, 100) for tag in (*settings.tags, *tags)]
    identity = Identity(
        id=run_id,
        name=plain_run_name(name or own_name or f"{subject} ·{run_id[:4]}"),
        project=project or settings.project or default_project(),
        group=label(group) if group else None,
        parent=parent.id if parent is not None else None,
        destination=parent.destination if parent is not None else destination_of(settings),
        shared=shared_id is not None,
    )
    run = make(
        identity,
        settings,
        parent=parent,
        opened_by_user=by_user,
        tags=dict.fromkeys([*(parent.tags if parent else ()), *tags]),
        face=face,
    )
    values: dict[str, Any] = {"status": "running"}
    if run.tags:
        values["tags"] = list(run.tags)
    if parent is not None:
        values["parent"] = parent.id
        parent.add_child(run)
    if config is not None:
        run.top.update(config)
        values.update(without_underscores(sanitize(dict(config))))
    run.put(values)
    if framework is not None:
        hooked.is_of(run, framework)
    begin(run, is_told=parent is None)
    return run


def make(identity: Identity, settings: Settings, *, face: Face = Run, **fields: Any) -> Recording:
    """A run with a sink, announced there. Where that cannot be written, it records nothing, and we say so."""
    sink = outlet.open_sink(settings, identity.destination)
    return Recording(identity, sink=sink, settings=settings, keeper=_keeper, face=face, **fields)


def begin(run: Recording, *, is_told: bool) -> None:
    """It is running from now on: it ends with the process at the latest."""
    ending.began(run)
    surroundings.record(run)
    if is_told:
        is_unnamed = run.destination[1].startswith("@")  # a Space whose owner the Hub has yet to name
        reports.ask_for_those_that_ended(is_over=False)
        telling.begun(run, run.url or (in_words(run.destination) if is_unnamed else None))


class _Keeper(Keeper):
    """Keeps the runs of this process, see :class:`autolog.core.recording.Keeper`."""

    def child(
        self, parent: Recording, name: str | None, config: Mapping[str, Any] | None, by_user: bool
    ) -> Recording:
        return open_run(name, parent=parent, config=config, by_user=by_user)

    def enter(self, run: Recording) -> Callable[[], None]:
        return current.enter(run)

    def went_on(self, run: Recording) -> None:
        ending.began(run)

    def ended(self, run: Recording) -> None:
        ending.ended(run)

    @property
    def rejoin(self) -> Callable[[Ticket], Recording]:
        return rejoin


_keeper = _Keeper()


def rejoin(ticket: Ticket) -> Recording:
    """The run of another process, to write to from this one."""
    if not ticket.is_recorded:  # it is kept in the memory of the process that opened it
        return silent_run()
    if ticket.pid != os.getpid():  # a worker may be ended without another moment, see outlet.py
        started.work()
    return make(dataclasses.replace(ticket.run, joined=True), Settings(**ticket.settings))


# What records nothing -------------------------------------------------------------------------------


class _Nobody(_Keeper):
    """Keeps nothing: a run that records nothing has no beginning, and no end."""

    def child(
        self, parent: Recording, name: str | None, config: Mapping[str, Any] | None, by_user: bool
    ) -> Recording:
        return silent_run(name or "run", project=parent.project, settings=parent.settings, parent=parent)

    def went_on(self, run: Recording) -> None:
        pass

    def ended(self, run: Recording) -> None:
        pass


_nobody = _Nobody()
_disabled: Recording | None = None  # what `current_run()` gives where the environment switches autolog off


def silent_run(
    name: str = "unrecorded",
    *,
    project: str = "unrecorded",
    settings: Settings | None = None,
    parent: Recording | None = None,
    face: Face = Run,
) -> Recording:
    """A run that takes everything and records nothing.

    Args:
        settings: None: those in force.
    """
    return Recording(
        Identity(id=uuid.uuid4().hex, name=name, project=project),
        sink=None,
        parent=parent,
        settings=settings or settings_module.current(),
        keeper=_nobody,
        face=face,
    )


# By hand --------------------------------------------------------------------------------------------


class Opening:
    """What :func:`run` returns: a context manager, and a decorator that opens a run per call."""

    def __init__(self, name: str | None, arguments: dict[str, Any]):
        self._name = name
        self._arguments = arguments
        self._runs: list[Run] = []

    def __enter__(self) -> Run:
        self._runs.append(open_run(self._name, parent=innermost(), **self._arguments).face)
        return self._runs[-1].__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runs.pop().__exit__(kind, error, traceback)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise RunError(
            f"{name}: this run is not open yet. Write `with autolog.run() as run:` and use `run` inside."
        )

    def __call__(self, function: F) -> F:
        def opening() -> Opening:
            return Opening(self._name or getattr(function, "__name__", None), self._arguments)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with opening():
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
            with opening():
                return await function(*args, **kwargs)

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"autolog.run() cannot decorate the generator {function.__name__}: its body runs after the "
                "call. Put `with autolog.run():` inside of it."
            )
        return cast(F, async_wrapper if inspect.iscoroutinefunction(function) else wrapper)


def run(
    name: str | None = None,
    *,
    project: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Opening:
    """A run of the user's own.

    As a context manager it yields the :class:`Run`, and trainings inside write to it; as a decorator it
    opens one per call. Inside another run it becomes a child of it.

    Args:
        name: None: made up.
        project: Trackio project. None: as in :class:`Settings`.
        group: Trackio group. None: the outermost run's name.
        tags: words to find it by.
        config: values for the top level of its config.

    Raises:
        TypeError: an argument of a wrong kind.
        SettingError: a project name that Trackio refuses.

    Examples:
        >>> with autolog.run("baseline", tags=["nightly"]) as run:
        ...     model.fit(X, y)
        ...     run.log({"val/cost": 12.5})
    """
    if callable(name):
        raise TypeError(f"run: name={name!r}; expected a text or None. As a decorator, write @autolog.run().")
    for what, value in (("name", name), ("project", project), ("group", group)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"run: {what}={value!r}; expected a text or None.")
    if not isinstance(tags, (list, tuple, set)) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError(f"run: tags={tags!r}; expected a list of texts.")
    if config is not None and not isinstance(config, Mapping):
        raise TypeError(f"run: config={config!r}; expected a mapping of names to values.")
    if project is not None:
        check_project(project)
    for key in config or ():
        if str(key).startswith("_"):
            raise ValueError(
                f"run: config key {key!r}: Trackio keeps keys that begin with '_' for itself. "
                "Choose another one."
            )
    arguments = {"project": project, "group": group, "tags": list(tags), "config": config}
    return Opening(name, arguments)


def current_run() -> Run:
    """The innermost open run of this context.

    Raises:
        RunError: there is none.
    """
    global _disabled
    run = innermost()
    if run is not None:
        return run.face
    if settings_module.disabled_by_environment():
        if _disabled is None or _disabled.is_closed:
            _disabled = silent_run("disabled", project="disabled", settings=Settings())
        return _disabled.face
    raise RunError(
        "no run is open here. Open one with `with autolog.run():`, or call this inside a training that "
        "autolog records (autolog.status() says which those are)."
    )


def last_run() -> Run:
    """The run that this program has opened last, whether it has ended or not: of a fit that is over, say.

    A run below another one is not asked for: its parent is.

    Raises:
        RunError: there was none.

    Examples:
        >>> model.fit(X, y)
        >>> autolog.last_run().log({"cost": 12.5})
    """
    run = live.last_of_all()
    if run is None:
        raise RunError(
            "nothing was recorded in this program yet. autolog.enable() before a training records it; "
            "autolog.status() says of what."
        )
    return run.face


def given_run(what: str, run: Run | None) -> Recording | None:
    """The run that the user gives to a callback of ours, if it is one that can be written to.

    Raises:
        TypeError: it is none of autolog's runs.
        RunError: it is finished.
    """
    if run is None:
        return None
    if not isinstance(run, Run):
        raise TypeError(f"{what}: run={run!r}; expected a run as `with autolog.run() as run` gives it.")
    recording = recording_of(run)
    if recording.is_closed:
        raise RunError(f"{what}: run {run.name!r} is already finished. Leave run= out, or open another.")
    return recording
