"""Who owns a run: opening, the current one, and which training belongs to which.

Where a record goes, in this order: the run given by hand; the innermost autolog run open in this
context; the Trackio run that the user opened (adopted, never finished by us); a new run. In a run that
somebody else opened the first training writes in place, each later one becomes a child of it.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from autolog.capture import params as capture_params
from autolog.capture.origin.provenance import project_name
from autolog.core import ending, loops, resuming, surroundings
from autolog.core import settings as settings_module
from autolog.core.resuming import Checkpoint
from autolog.core.run import Run, RunError, plain_run_name, status_of, without_underscores
from autolog.core.settings import Settings, check_project, disabled_by_environment, is_follower
from autolog.process import context, forks, guard
from autolog.process.accounts import account_of, bind_account
from autolog.process.guard import shield
from autolog.sinks import Sink

__all__ = [
    "Opening",
    "Place",
    "Training",
    "adopted_run",
    "begin_training",
    "bind_run",
    "conclude",
    "current_run",
    "find_run",
    "fitting_project",
    "given_run",
    "lend",
    "open_run",
    "run",
    "trackio_run",
]

F = TypeVar("F", bound=Callable[..., Any])

TAKE_OVER_SECONDS = 2.0  # that a training waits for at most whoever delivers the journal of its last process

# Opening ------------------------------------------------------------------------------------------


def open_run(
    name: str | None = None,
    *,
    project: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    config: Mapping[str, Any] | None = None,
    parent: Run | None = None,
    by_user: bool = True,
    subject: str = "run",
    shared_id: str | None = None,
    settings: Settings | None = None,
    kind: type[Run] = Run,
) -> Run:
    """Open a run. It is nobody's current run until it is entered.

    Args:
        parent: the run that it becomes a child of; project, group, tags and destination come from there.
        by_user: whether a person opened it, rather than a hook.
        subject: what the made-up name begins with.
        shared_id: its id, if several processes write to it at the same time, each as its owner.
        settings: None: those in force.
        kind: a room's own kind of run, with names that its users expect.

    Raises:
        SettingError: a project name that Trackio refuses, a wrong setting in the environment.
        RunError: the place for records cannot be written.
    """
    settings = settings or settings_module.current()
    run_id = shared_id or uuid.uuid4().hex
    if parent is not None:
        project = project or parent.project
        group = group or parent.outermost.group or parent.outermost.name
    own_name = settings.run_name if parent is None else None
    group = group or settings.group
    run = _make(
        settings,
        kind,
        name=plain_run_name(name or own_name or f"{subject}-{run_id[:4]}"),
        project=project or settings.project or _default_project(),
        group=capture_params.label(group) if group else None,
        parent=parent,
        run_id=run_id,
        opened_by_user=by_user,
        shared=shared_id is not None,
        destination=parent.destination if parent is not None else None,
    )
    values: dict[str, Any] = {"status": "running"}
    tags = [capture_params.label(tag, 100) for tag in (*settings.tags, *tags)]
    run._tags = [*dict.fromkeys([*(parent._tags if parent else ()), *tags])]
    if run._tags:
        values["tags"] = list(run._tags)
    if parent is not None:
        values["parent"] = parent.id
        parent.add_child(run)
    if config is not None:
        values.update(without_underscores(capture_params.sanitize(dict(config))))
    run._config(values)
    ending.remember(run)
    surroundings.record(run)
    if by_user or parent is None:
        _tell(run)
    return run


def _make(settings: Settings, kind: type[Run] = Run, **fields: Any) -> Run:
    sink = _sink_for(settings)
    try:
        return kind(
            sink=sink,
            settings=settings,
            destination=fields.pop("destination", None) or _destination(settings),
            when_ended=ending.forget,
            **fields,
        )
    except OSError as error:
        raise RunError(
            f"autolog cannot write its journal: {error}. "
            "Make that folder writable, or set TRACKIO_DIR to one that is."
        ) from error


def _default_project() -> str:
    """The repository's or folder's name, made into one that Trackio takes."""
    return fitting_project(project_name())


def fitting_project(name: str) -> str:
    """This name, made into one that Trackio takes for a project."""
    try:
        check_project(name)
    except ValueError:
        return f"project-{name}".rstrip("_") + "-"
    return name


def _destination(settings: Settings) -> tuple[str, str]:
    if settings.space_id:
        return "space", settings.space_id
    if settings.server_url:
        return "server", settings.server_url
    return "local", ""


_memory_sink: Sink | None = None


def _sink_for(settings: Settings) -> Sink | None:
    global _memory_sink  # "memory" by name is one sink of the process
    if disabled_by_environment() or is_follower():
        return None
    if settings.sink == "trackio":
        return ending.trackio_sink(settings)
    if settings.sink == "memory":
        from autolog.sinks.memory import MemorySink

        _memory_sink = _memory_sink or MemorySink()
        return _memory_sink
    return cast(Sink, settings.sink)


def _tell(run: Run) -> None:
    """The one line per run. To stderr: the user's own output stays as it was."""
    if not run.settings.quiet and run.url is not None:
        where = " (while `trackio show` runs)" if run.is_local else ""
        print(f"autolog: {run.name} in project {run.project} -> {run.url}{where}", file=sys.stderr)


class Opening:
    """What :func:`run` returns: a context manager, and a decorator that opens a run per call."""

    def __init__(self, name: str | None, arguments: dict[str, Any]):
        self._name = name
        self._arguments = arguments
        self._runs: list[Run] = []

    def __enter__(self) -> Run:
        self._runs.append(open_run(self._name, parent=innermost(), **self._arguments))
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
                f"autolog.run() decorates no generator ({function.__name__}): its body runs after the call. "
                "Put `with autolog.run():` inside of it."
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

    Example:
        >>> with autolog.run("baseline", tags=["nightly"]) as run:
        ...     model.fit(X, y)
        ...     run.log({"val/cost": 12.5})
    """
    if callable(name):
        raise TypeError("autolog.run is called before it decorates: write @autolog.run().")
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
            raise ValueError(f"run: config key {key!r}: Trackio keeps keys that begin with '_' for itself.")
    arguments = {"project": project, "group": group, "tags": list(tags), "config": config}
    return Opening(name, arguments)


# The current run ------------------------------------------------------------------------------------


class Place:
    """Where a run will stand as soon as something inside asks for one: a trial of a study, of thousands.

    Args:
        run: gives the run, opened by now; None: what comes belongs to the run around this place.
    """

    def __init__(self, run: Callable[[], Run | None]):
        self._run = run

    def taken(self) -> Run | None:
        """Its run: something is about to be recorded."""
        with shield("opening the run of a place"):
            return self._run()
        return None


_stack: ContextVar[tuple[Run | Place, ...]] = ContextVar("autolog_runs", default=())
context.carry(_stack)

# Opened by the user in the main thread: they cover threads that have none of their own, since a new
# thread begins with an empty context. A run opened in another thread covers that thread only.
_main_thread_runs: list[Run] = []


suspects: list[Callable[[], None]] = []
"""Asked before the innermost run is: they end trainings whose end nobody tells us of."""


around: list[Callable[[], Run | None]] = []
"""Asked where no run is open: they know of something around that nobody entered, e.g. a pipeline's step."""


def innermost() -> Run | None:
    """The innermost run open in this context, or the main thread's for a thread that has none."""
    for end_if_over in list(suspects):
        end_if_over()
    for entry in (*reversed(_stack.get()), *(Place(find) for find in around)):
        run = entry.taken() if isinstance(entry, Place) else entry
        if run is not None and not run._closed:
            return run
    if threading.current_thread() is not threading.main_thread() and _main_thread_runs:
        return _main_thread_runs[-1]
    return None


def current_run() -> Run:
    """The innermost open run of this context.

    Raises:
        RunError: there is none.
    """
    run = innermost()
    if run is not None:
        return run
    if disabled_by_environment():
        return _silent_run
    raise RunError(
        "no run is open here. Open one with `with autolog.run():`, or call this inside a training that "
        "autolog records (autolog.status() says which those are)."
    )


def enter(run: Run | Place) -> Callable[[], None]:
    """Make it the current run, or the place of one; returns how to leave."""
    token = _stack.set((*_stack.get(), run))
    is_main = threading.current_thread() is threading.main_thread()
    in_main = is_main and isinstance(run, Run) and run.opened_by_user
    if in_main:
        _main_thread_runs.append(cast(Run, run))

    def leave() -> None:
        if in_main:
            _main_thread_runs.remove(cast(Run, run))
        try:
            _stack.reset(token)
        except ValueError:  # left in another context than entered, as generators may be
            _stack.set(tuple(r for r in _stack.get() if r is not run))

    return leave


def withdraw(place: Place) -> None:
    """Leave a place wherever it stands by now among those that were entered."""
    _stack.set(tuple(entry for entry in _stack.get() if entry is not place))


def _make_silent_run() -> Run:
    return Run("disabled", project="disabled", sink=None, settings=Settings())


_silent_run = _make_silent_run()


# Trainings ------------------------------------------------------------------------------------------


def find_run(subject: Any) -> Run | None:
    """The run of the last training of this object."""
    return cast(Run | None, account_of(subject))  # runs alone are bound here


def bind_run(subject: Any, run: Run) -> None:
    """From now on this object's records belong to this run."""
    bind_account(subject, run)


def given_run(what: str, run: Run | None) -> Run | None:
    """The run that the user gives to a callback of ours, if it is one that can be written to.

    Raises:
        TypeError: it is none of autolog's runs.
        RunError: it is finished.
    """
    if run is not None and not isinstance(run, Run):
        raise TypeError(f"{what}: run={run!r}; expected a run as `with autolog.run() as run` gives it.")
    if run is not None and run._closed:
        raise RunError(f"{what}: run {run.name!r} is already finished. Leave run= out, or open another.")
    return run


class Training:
    """A training that is being recorded: its run, and whether the run ends with it.

    Attributes:
        checkpoint: from where it could go on in its run, if it were interrupted.
    """

    def __init__(self, run: Run, *, owns: bool):
        self.run = run
        self.owns = owns
        self.checkpoint: Checkpoint | None = None

    @contextmanager
    def current(self) -> Iterator[Run]:
        """Inside, the run is the current one."""
        leave = enter(self.run)
        try:
            yield self.run
        finally:
            guard.charge(self.run)  # from here on, what goes wrong is said in this run
            leave()


def begin_training(
    subject: Any,
    name: str,
    *,
    given: Run | None = None,
    resume: Checkpoint | None = None,
    shared_id: str | None = None,
    suggested: Mapping[str, str] | None = None,
) -> Training:
    """The run for a training that begins: see the module's text for the order. A loop of it is over.

    Args:
        subject: the estimator, model, trainer: later calls on it find the run by it.
        name: of what is trained, e.g. its class.
        given: a run that the user gave by hand.
        resume: where the training saves itself. If there is something to go on from, and the run that saved
            it is known and has nobody any more, it goes on in that run; in a run of the user's never.
        shared_id: of a run that several processes have in common, if it is in nobody else's.
        suggested: project, run name and Space that the framework's own arguments name: for a run of its own,
            where the settings say nothing.
    """
    if (loop := loops.loop_of(find_run(subject))) is not None:
        loop.end()
    training = _place_for_training(name, given, resume, shared_id, suggested or {})
    training.run.is_training = True
    guard.charge(training.run)
    bind_account(subject, training.run)
    if resume is not None and training.owns and training.run.parent is None:
        with shield("remembering where a training could go on"):
            resuming.remember(resume, training.run)
            training.checkpoint = resume
    return training


def _place_for_training(
    name: str,
    given: Run | None,
    resume: Checkpoint | None,
    shared_id: str | None,
    suggested: Mapping[str, str],
) -> Training:
    inner = innermost()
    outer = inner if given is None or (inner is not None and inner.is_below(given)) else given
    if outer is None and (ambient := _ambient_run()) is not None:
        outer = _adopt(ambient)
    if outer is None:
        settings = settings_module.current().filled(**suggested)
        run = _gone_on_with(resume, settings) if resume is not None and resume.exists else None
        run = run or open_run(by_user=False, subject=name, shared_id=shared_id, settings=settings)
        return Training(run, owns=True)
    if outer.claim():
        return Training(outer, owns=False)
    child = open_run(suggested.get("run_name"), parent=outer, by_user=False, subject=name)
    return Training(child, owns=True)


def _gone_on_with(checkpoint: Checkpoint, settings: Settings) -> Run | None:
    """The run that a checkpoint is of, open again; None if there is none, or it is somebody's."""
    from autolog.sinks.delivery import take_over

    with shield("going on with a run"):
        left = resuming.left_at(checkpoint)
        project = settings.project or _default_project()
        if left is None or settings.sink != "trackio" or disabled_by_environment():
            return None
        if (left.project, left.destination) != (project, _destination(settings)) or left.is_going_on:
            return None
        config: dict[str, Any] | None = {}  # of this process delivery knows it
        if not left.is_of_this_process:
            config = take_over(Path(left.journal), left.id, TAKE_OVER_SECONDS)
        if config is None:
            return None
        run = _make(
            settings,
            name=left.name,
            project=left.project,
            group=left.group,
            run_id=left.id,
            resumed=left.resumed + 1,
        )
        run._tags = list(config.get("tags", []))
        if config:
            run._write("config", values=config)
        run._config({"status": "running", "resumed": run.resumed, "error": None})
        ending.remember(run)
        surroundings.record(run)
        _tell(run)
        return run
    return None


def _ambient_run() -> Any:
    if "trackio" not in sys.modules:
        return None
    from autolog.sinks.trackio import ambient_run

    return ambient_run()


def trackio_run() -> Any:
    """The ``trackio.Run`` that is open in this context, the user's or another integration's; None: none."""
    ambient = _ambient_run()
    return ambient.itself if ambient is not None else None


def adopted_run() -> Run | None:
    """The run by which we write to the Trackio run that is open in this context, if there is one."""
    ambient = _ambient_run()
    return _adopt(ambient) if ambient is not None else None


def lend(stand_in: Any) -> Callable[[], None]:
    """Put this where Trackio's own functions look for the current run in this context; returns how to undo.

    Args:
        stand_in: what they will call; as ``stands_for`` it names our run.
    """
    from autolog.sinks.trackio import make_current

    return make_current(stand_in)


def is_inside_a_run() -> bool:
    """Whether what begins here belongs to a run that is open already, of ours or of the user's own."""
    return innermost() is not None or _ambient_run() is not None


def _adopt(ambient: Any) -> Run:
    """Write to the Trackio run that the user opened, and never finish it."""
    run = ending.adopted(ambient.id)
    if run is None:
        settings = settings_module.current()
        if ambient.token:
            settings = settings.updated(write_token=ambient.token)
        run = _make(
            settings,
            name=ambient.name,
            project=ambient.project,
            group=ambient.group,
            run_id=ambient.id,
            ambient=ambient,
            opened_by_user=True,
            destination=ambient.destination,
        )
        ending.remember_adopted(run)
        surroundings.record(run)
    return run


def conclude(training: Training, error: BaseException | None = None, *, more_to_come: bool = False) -> None:
    """The training has returned, or raised: its status is final, its run stays open for what follows.

    Args:
        more_to_come: the next call goes on in this run (``partial_fit``): it stays ``running`` until
            ``autolog.finish()`` or the exit.
    """
    run = training.run
    guard.charge(run)
    run.is_training = False
    if error is not None:
        run._note_error(error)
    elif training.checkpoint is not None:
        with shield("forgetting where a training could have gone on"):
            resuming.forget(training.checkpoint)
    if training.owns and not (more_to_come and error is None):
        run._end(status_of(error))
    else:
        run._report_overhead()


# Other processes ------------------------------------------------------------------------------------


def run_of_ticket(ticket: dict[str, Any]) -> Run:
    """The run of another process, to write to from this one."""
    if not ticket["recorded"]:  # it is kept in the memory of the process that opened it
        return _silent_run
    if ticket["pid"] != os.getpid():  # a worker may be ended without another moment: see _forget_in_child
        ending.write_through()
    return _make(
        Settings(**ticket["settings"]),
        name=ticket["name"],
        project=ticket["project"],
        group=ticket["group"],
        run_id=ticket["id"],
        destination=ticket["destination"],
        joined=True,
    )


def ticket_of(context: Mapping[Any, Any]) -> dict[str, Any] | None:
    """What a worker process needs to go on in this context: the innermost run of it."""
    taken = [e.taken() if isinstance(e, Place) else e for e in context.get(_stack, ())]
    runs = [run for run in taken if run is not None and not run._closed] or _main_thread_runs
    return runs[-1].ticket() if runs and runs[-1].records else None


def join_run(ticket: dict[str, Any]) -> Callable[[], None]:
    """In a worker process: enter the parent's run; returns how to leave."""
    ending.write_through()
    leave_run = enter(run_of_ticket(ticket))

    def leave() -> None:
        leave_run()
        ending.release()  # unlocked, so that the parent delivers what this worker wrote

    return leave


def _forget_in_child() -> None:
    _main_thread_runs[:] = [run for run in _main_thread_runs if run in _stack.get()]


forks.when_forked("current", in_child=_forget_in_child)
