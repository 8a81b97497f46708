"""A study's sampler, pruner and storage as config entries."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

import optuna

from autolog.core import settings as settings_module
from autolog.core.recording import Recording
from autolog.process.hooks import Call

__all__ = [
    "directions_of",
    "is_shared",
    "names_of",
    "record_study",
    "search_space_of",
    "shared_id",
    "storage_of",
]

MADE_UP = "no-name-"  # what Optuna begins the name of a study with that was given none
MOST_DISTRIBUTIONS = 10  # of one parameter, whose range depends on another one's value


def record_study(run: Recording, study: Any, call: Call | None) -> None:
    """What was set by hand."""
    names, directions = names_of(study), directions_of(study)
    run.describe(
        {
            "framework": "optuna",
            "framework/version": optuna.__version__,
            "study": study.study_name,
            "sampler": type(study.sampler).__name__,
            "pruner": type(study.pruner).__name__,
            "storage": storage_of(study),
            "direction": ", ".join(directions),
            "directions": dict(zip(names, directions, strict=True)),
        }
    )
    given = {
        name: call.get(name) for name in ("n_trials", "timeout", "n_jobs") if call is not None
    }  # a call's; of ask-and-tell nothing is known
    if catch := call.get("catch") if call is not None else None:
        given["catch"] = [getattr(error, "__qualname__", error) for error in catch]
    run.params({**given, **_settings(study.sampler, "sampler"), **_settings(study.pruner, "pruner")})


def names_of(study: Any) -> list[str]:
    """The objectives' names: the user's, else ``value``, or numbers if there are several."""
    count = len(study.directions)
    names = study.metric_names or (["value"] if count == 1 else [str(n) for n in range(count)])
    return [str(name) for name in names]


def directions_of(study: Any) -> list[str]:
    """``minimize`` or ``maximize``, of each objective."""
    return [direction.name.lower() for direction in study.directions]


def _settings(thing: Any, prefix: str) -> dict[str, Any]:
    """The plain values that a sampler or pruner keeps of its arguments; one inside of another, too."""
    found: dict[str, Any] = {}
    for name, value in vars(thing).items():
        key = f"{prefix}/{name.strip('_')}"
        if value is None or isinstance(value, (bool, int, float, str)):
            found[key] = value
        elif isinstance(value, tuple) and hasattr(value, "_asdict"):
            plain = {n: v for n, v in value._asdict().items() if isinstance(v, (bool, int, float, str))}
            found |= {f"{prefix}/{n}": v for n, v in plain.items()}
        elif isinstance(value, optuna.pruners.BasePruner):
            found |= {key: type(value).__name__, **_settings(value, key)}
    return found


# The storage --------------------------------------------------------------------------------------


def storage_of(study: Any) -> str:
    """Where the trials are kept, without a password."""
    storage = study._storage
    place = _place(storage)
    return f"{type(storage).__name__.lstrip('_')} {place}".strip()


def is_shared(study: Any) -> bool:
    """Whether other processes may work on this study, too."""
    place = _place(study._storage)
    in_memory = place.startswith("sqlite") and place.partition("///")[2] in ("", ":memory:")
    return bool(place) and not in_memory


def shared_id(study: Any) -> str | None:
    """The id of the run of all processes that work on this study; None: it is this process' own.

    By storage and name, and by when the first trial began, without which there is none either: a study that
    is deleted and made anew under its name is another one.
    """
    storage, number = study._storage, study._study_id
    if not is_shared(study):
        return None
    try:
        first = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(number, 0))
    except KeyError:
        return None
    settings = settings_module.current()
    parts = [_place(storage), study.study_name, number, first.datetime_start]
    parts += [settings.project, settings.server_url, settings.space_id]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _place(storage: Any) -> str:
    """A URL or file that finds the same storage from any process; empty if there is none."""
    storage = getattr(storage, "_backend", storage)  # a cache, a journal
    if path := getattr(storage, "_file_path", None):
        return os.path.abspath(str(path))
    if host := getattr(storage, "_host", None):
        return f"{host}:{getattr(storage, '_port', '')}"
    url = str(getattr(storage, "url", None) or getattr(storage, "_url", None) or "")
    url = re.sub(r"://([^:@/]*):.*@", r"://\1@", url.partition("?")[0])
    scheme, slashes, path = url.partition(":///")
    if scheme.startswith("sqlite") and path not in ("", ":memory:"):
        url = f"{scheme}{slashes}{os.path.abspath(path)}"
    return url


def search_space_of(trials: list[Any]) -> dict[str, Any]:
    """Every parameter that was suggested with its distribution; with all of them if it had several."""
    known: dict[str, list[Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            several = known.setdefault(name, [])
            if distribution not in several and len(several) < MOST_DISTRIBUTIONS:
                several.append(distribution)
    described = {
        name: [{"type": type(one).__name__, **one._asdict()} for one in several]
        for name, several in known.items()
    }
    return {name: several[0] if len(several) == 1 else several for name, several in described.items()}
