"""The table of frameworks: versions, and the module that records each; turning them on and off.

A new framework is one line here, one room (``autolog/<name>.py`` or folder) with a ``HOOKS`` list, and one
test file.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from autolog.core import hooked, started, statuses, telling
from autolog.core import settings as settings_module
from autolog.core.settings import Settings, disabled_by_environment
from autolog.process.hooks import Hook, install, uninstall
from autolog.process.imports import is_installed, when_imported

if TYPE_CHECKING:
    from autolog.core.status import StatusTable

__all__ = [
    "METRICS",
    "PACKAGES",
    "POOLS",
    "TABLE",
    "Framework",
    "FrameworkError",
    "arm",
    "can_be_recorded",
    "disable",
    "enable",
    "enabled",
    "is_on",
    "status",
]

logger = logging.getLogger("autolog")


class FrameworkError(ValueError):
    """A framework that autolog does not know, or that is not installed in a version it can record."""


class Framework(NamedTuple):
    """One line of the table.

    Attributes:
        distribution: what is installed, by its name on PyPI.
        requires: the versions that are recorded; both ends are tested.
        tested: the newest version that the tests ran with. A newer one is recorded too, with one warning.
        trigger: the module after whose import the room is loaded and its hooks put in; until then being
            turned on costs nothing.
        module: the room that holds its ``HOOKS``.
        pruned, killed: exceptions, as ``module:class``, by which it leaves a training that has not failed.
        switches: variables ``AUTOLOG_*`` that the room reads itself.
        also_as: another line of the table, if it is the same framework under another name: one of them is
            turned on and off with the other.
        estimator: its base class of models that scikit-learn's room records; see :mod:`autolog.core.inner`.
    """

    distribution: str
    requires: str
    tested: str
    trigger: str
    module: str
    pruned: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    also_as: str | None = None
    estimator: str | None = None


TABLE: dict[str, Framework] = {
    "sklearn": Framework("scikit-learn", ">=1.4", "1.9", "sklearn.base", "autolog.sklearn"),
    "keras": Framework("keras", ">=3.5", "3.15", "keras", "autolog.keras"),
    "lightning": Framework(
        "lightning",
        ">=2.4",
        "2.6",
        "lightning.pytorch.trainer.trainer",
        "autolog.lightning",
        also_as="pytorch_lightning",
    ),
    "pytorch_lightning": Framework(
        "pytorch-lightning",
        ">=2.4",
        "2.6",
        "pytorch_lightning.trainer.trainer",
        "autolog.pytorch_lightning",
        also_as="lightning",
    ),
    "transformers": Framework(
        "transformers", ">=5.0", "5.24", "transformers.trainer", "autolog.transformers"
    ),
    "optuna": Framework(
        "optuna",
        ">=3.6",
        "5.0",
        "optuna.study.study",
        "autolog.optuna",
        pruned=("optuna.exceptions:TrialPruned",),  # a training that promises little
    ),
    "zenml": Framework(
        "zenml",
        ">=0.85",
        "0.98",
        "zenml.steps.step_context",
        "autolog.zenml",
        # What it makes of Ctrl-C and SIGTERM, and of somebody who stops a step from afar.
        killed=(
            "zenml.exceptions:RunInterruptedException",
            "zenml.exceptions:RunStoppedException",
            "zenml.steps.heartbeat:StepHeartBeatTerminationException",
        ),
        switches=("AUTOLOG_ZENML_PAGE",),
    ),
    "xgboost": Framework("xgboost", ">=3.0", "3.4", "xgboost", "autolog.xgboost", estimator="XGBModel"),
    "lightgbm": Framework("lightgbm", ">=4.5", "4.7", "lightgbm", "autolog.lightgbm", estimator="LGBMModel"),
    "catboost": Framework("catboost", ">=1.2.8", "1.2", "catboost", "autolog.catboost", estimator="CatBoost"),
}

for _framework in TABLE.values():
    statuses.register("pruned", _framework.pruned)
    statuses.register("killed", _framework.killed)
    for _switch in _framework.switches:
        settings_module.know_switch(_switch)

PACKAGES = tuple(dict.fromkeys(framework.trigger.partition(".")[0] for framework in TABLE.values()))

# Whatever is recorded, it may be sent to them.
POOLS = [
    Hook(
        "joblib.parallel",
        "Parallel.__call__",
        "autolog.core.pools:observe_parallel",
        records="what joblib's workers log to the run",
    ),
    Hook(
        "joblib.parallel",
        "BatchedCalls.__call__",
        "autolog.core.pools:observe_batch",
        records="that what joblib's workers train is not to be recorded any more",
    ),
]

# Whoever has predicted, the truth may come with a metric of scikit-learn's: each asks this function, by its
# global name, with the user's own arrays.
METRICS = [
    Hook(
        "sklearn.utils._param_validation",
        "validate_parameter_constraints",
        "autolog.core.predictions:observe_metric",
        kind="after",
        outermost_of="sklearn",
        records="evaluations by scikit-learn's metric functions",
    )
]

_on: dict[str, list[Hook]] = {}
_armed: dict[str, list[Hook]] = {}  # for the calls that carry a callback of ours, turned on or not
_also: ContextVar[frozenset[str]] = ContextVar("autolog_also", default=frozenset())
_lock = threading.RLock()
_told: Settings | None = None  # in a worker: what it was told, not by the program that runs there
_warned: set[str] = set()
_checked: set[str] = set()  # whose version another process of this environment has looked at


def enable(*frameworks: str, **settings: Any) -> None:
    """Record every training of these frameworks from now on, imported already or not.

    Args:
        frameworks: names of the table, e.g. ``"sklearn"``. None: all that are installed in a version that
            autolog can record.
        settings: fields of :class:`autolog.Settings`. What an earlier ``enable`` has set and this one does
            not name stays as it is, until ``disable()``.

    Raises:
        FrameworkError: a name that is not in the table, or one whose framework is missing or too old. It says
            what to write instead, of what is recorded in another way (``"torch"``, ``"trl"``) that.
        SettingError: an unknown setting, or a wrong value.

    Examples:
        >>> autolog.enable()
        >>> autolog.enable("sklearn", project="churn", log_models=False)
    """
    for name in frameworks:
        _check_name(name)
    in_force = settings_module.in_force()
    wanted = in_force.updated(**settings) if in_force else Settings.from_environment(**settings)
    if disabled_by_environment():
        return
    for name in frameworks:
        _, why_not = _installed(name)
        if why_not is not None and not any(_installed(other)[1] is None for other in _with_namesakes(name)):
            raise FrameworkError(f"{name} cannot be recorded: {why_not}")
    if wanted.sink == "trackio":
        _say_if_nothing_is_drawn()
    with _lock:
        settings_module.use(wanted)
        _wait_for(_with_namesakes(*frameworks) or TABLE)
    packages = {name: TABLE[name].trigger.partition(".")[0] for name in frameworks or TABLE}
    telling.recording({name: is_installed(package) for name, package in packages.items()}, wanted)


def _with_namesakes(*names: str) -> list[str]:
    """These frameworks, and the other names of the same."""
    return list(dict.fromkeys(known for name in names for known in (name, TABLE[name].also_as) if known))


def _wait_for(frameworks: Iterable[str]) -> None:
    if not _on:
        install(started.HOOKS)
        hooked.put_in("sklearn", POOLS, TABLE["sklearn"].distribution)
        when_imported("multiprocessing.process", _tell_processes)
    for name in frameworks:
        if name not in _on:
            _on[name] = []
            turn_on = functools.partial(_turn_on, name)
            # A framework in which even that module is gone is told of by what its hooks do not find.
            when_imported(TABLE[name].trigger, turn_on, gone=turn_on)


def turned_on() -> dict[str, bool]:
    """The frameworks that are recorded, and whether their versions have been looked at: once imported."""
    return {name: bool(hooks) for name, hooks in _on.items()}


def go_on(frameworks: dict[str, bool], settings: Settings) -> None:
    """Record these in a worker as where it was started, see :func:`turned_on`.

    What the program turns on there itself holds.
    """
    global _told
    if disabled_by_environment():
        return
    with _lock:
        if settings_module.in_force() in (None, _told):
            settings_module.use(settings)
            _told = settings
        _checked.update(name for name, is_checked in frameworks.items() if is_checked)
        _wait_for(frameworks)


def _tell_processes() -> None:
    """What is trained in a process that this one starts afresh is recorded, too."""
    from autolog.process.spawned import tell

    tell(PACKAGES, "autolog.core.arriving:arrive", _word)


def _word(is_shared: bool) -> bytes | None:
    """What such a process is told: nothing, unless something is recorded here."""
    from autolog.core.word import word

    return word(turned_on(), is_shared=is_shared) if _on else None


def _say_if_nothing_is_drawn() -> None:
    from autolog.capture.chart import NO_PICTURES, can_be_drawn  # a worker has no need of it

    if not can_be_drawn():
        _warn_once(f"autolog: no pictures are recorded: {NO_PICTURES}.")


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)


def disable(*frameworks: str) -> None:
    """Stop recording these frameworks (None: all), and put back everything that was patched.

    Raises:
        FrameworkError: a name that is not in the table.
    """
    for name in frameworks:
        _check_name(name)
    with _lock:
        for name in _with_namesakes(*frameworks) or {*_on, *_armed}:
            _on[name] = _armed.pop(name, []) or _on.get(name, [])  # what was put in, for whichever reason
            _turn_off(name)
        if not _on:
            settings_module.use(None)


@contextmanager
def enabled(*frameworks: str, **settings: Any) -> Iterator[None]:
    """:func:`enable` for a ``with`` block; afterwards all is as it was before, settings included."""
    with _lock:
        before, settings_before = set(_on), settings_module.in_force()
    try:
        enable(*frameworks, **settings)
        yield
    finally:
        with _lock:
            for name in set(_on) - before:
                _turn_off(name)
            settings_module.use(settings_before)


def _turn_on(name: str) -> None:
    """The framework is imported: load its room and put in its hooks, if they are wanted still."""
    if name not in _checked:
        version, why_not = _installed(name)
        if why_not is not None:
            logger.warning("autolog: %s is not recorded: %s", name, why_not)
            return
        _warn_if_newer_than_tested(name, version or "")
    room = importlib.import_module(TABLE[name].module)
    with _lock:
        if name in _on and not _on[name]:
            _on[name] = list(room.HOOKS)
            _put_in(name, _on[name])


def arm(name: str) -> None:
    """Put in a framework's hooks for the calls that carry a native callback of ours.

    A callback is told little of how a call ends, and nothing of what is done with its result; the hooks are.
    They record such a call as if the framework were turned on, and no other one. Until ``disable()``.
    """
    if disabled_by_environment():
        return
    with _lock:
        if name not in _armed:
            _armed[name] = list(importlib.import_module(TABLE[name].module).HOOKS)
            _put_in(name, _armed[name])


def _put_in(name: str, hooks: list[Hook]) -> None:
    hooked.put_in(name, hooks, TABLE[name].distribution)


def is_armed(name: str) -> bool:
    """Whether calls that carry a native callback of ours are recorded: from the first to ``disable()``."""
    return name in _armed


@contextmanager
def also(name: str) -> Iterator[None]:
    """Inside, this framework is recorded too: a call of another one, which is, does its work by it."""
    arm(name)
    token = _also.set(_also.get() | {name})
    try:
        yield
    finally:
        _also.reset(token)


def is_on(name: str) -> bool:
    """Whether every call of this framework is recorded, and not only those that carry a callback."""
    return name in _on or name in _also.get()


def _turn_off(name: str) -> None:
    hooks = _on.pop(name, [])
    shared = {hook for others in (*_on.values(), *_armed.values()) for hook in others}
    uninstall(hook for hook in hooks if hook not in shared)
    if not _on:
        uninstall([*started.HOOKS, *(hook for hook in POOLS if hook not in shared)])


def _check_name(name: Any) -> None:
    known = ", ".join(TABLE)
    if not isinstance(name, str):
        several = isinstance(name, (list, tuple, set)) and name and all(one in TABLE for one in name)
        hint = f" Write autolog.enable({', '.join(map(repr, name))})." if several else ""
        raise FrameworkError(f"expected names of frameworks ({known}), got {name!r}.{hint}")
    if name in TABLE:
        return
    from autolog.core.unlisted import instead_of  # most programs ask for what there is

    plain = name.strip().lower().replace("-", "_")
    for part in (plain, plain.partition(".")[0]):  # of a module the package
        if (instead := instead_of(part)) is not None:
            raise FrameworkError(f"{name!r} cannot be turned on or off by itself: {instead}")
    names = {**{key: key for key in TABLE}, **{f.distribution: key for key, f in TABLE.items()}}
    first = plain.partition(".")[0]
    close = [first] if first in TABLE else difflib.get_close_matches(plain, names, n=1)
    hint = f"Did you mean {names[close[0]]!r}?" if close else f"A project is named by project={name!r}."
    raise FrameworkError(f"autolog does not know the framework {name!r}. {hint} It knows: {known}.")


def can_be_recorded(name: str) -> bool:
    """Whether a framework of the table is installed in a version that its room knows."""
    return _installed(name)[1] is None


def _installed(name: str) -> tuple[str | None, str | None]:
    """The installed version, and why it cannot be recorded (None: it can)."""
    import importlib.metadata  # 10 ms and more, so not before it is needed

    framework = TABLE[name]
    try:
        version = importlib.metadata.version(framework.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None, (
            f"{framework.distribution} is not installed. Run: pip install 'trackio-autolog[{name}]'"
        )
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(framework.requires).contains(version, prereleases=True):
        return version, None
    return version, (
        f"{framework.distribution} {version} is installed, autolog needs {framework.requires}. "
        f"Run: pip install '{framework.distribution}{framework.requires}'"
    )


def _warn_if_newer_than_tested(name: str, version: str) -> None:
    from packaging.version import Version

    framework = TABLE[name]
    if name not in _warned and Version(version).release[:2] > Version(framework.tested).release[:2]:
        _warned.add(name)
        logger.warning(
            "autolog: %s %s is newer than %s, the newest that was tested. It is recorded all the same.",
            framework.distribution,
            version,
            framework.tested,
        )


def status() -> StatusTable:
    """Per framework: versions found and required, on or off, its hooks, and why. Readable when printed.

    Of the hooks it says how many are in, wait for an import, or are missing, and what is lost by each of
    those.
    """
    from autolog.core.status import Status, StatusTable  # two classes that nobody else has need of

    rows = StatusTable()
    for name, framework in TABLE.items():
        version, why_not = _installed(name)
        is_wanted = (name in _on or name in _armed) and why_not is None
        hooks = hooked.HookCounts()
        if is_wanted:  # (a room imports nothing of its framework)
            hooks = hooked.count(name, importlib.import_module(framework.module).HOOKS)
        if name in _on and why_not is None:
            but = ", but for what is missing" if hooks.missing else ""
            why = (
                f"records every training{but}"
                if _on[name]
                else f"waits for {framework.trigger} to be imported"
            )
        elif disabled_by_environment():
            why = "AUTOLOG_DISABLE is set"
        else:
            why = why_not or f"not turned on: autolog.enable({name!r})"
        rows.append(Status(name, name in _on and why_not is None, version, framework.requires, why, hooks))
    return rows
