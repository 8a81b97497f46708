"""Settings: one frozen dataclass. Keyword arguments > ``AUTOLOG_*`` variables > defaults."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from autolog.process import voice

if TYPE_CHECKING:
    from autolog.sinks.identity import Destination

__all__ = [
    "SettingError",
    "Settings",
    "check_project",
    "current",
    "default_project",
    "destination_of",
    "disabled_by_environment",
    "in_force",
    "know_switch",
    "use",
]

_switches = {"AUTOLOG_DISABLE", voice.VARIABLE}  # what AUTOLOG_* means besides a field of Settings

# Trackio's own variables are honoured where autolog's say nothing.
_TRACKIO_VARIABLES = {
    "project": "TRACKIO_PROJECT",
    "run_name": "TRACKIO_RUN",
    "space_id": "TRACKIO_SPACE_ID",  # before server_url: with both set, Trackio takes the Space
    "server_url": "TRACKIO_SERVER_URL",
    "write_token": "TRACKIO_WRITE_TOKEN",
}

_TRUTHS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}

_SINK_METHODS = ("write", "stage", "sync", "deliver", "url", "sample_system")  # of autolog.sinks.Sink
SHAREABLE = ("data", "predictions", "code")
TRIALS = ("auto", "runs", "rows")
FINGERPRINTS = ("auto", "full")


class SettingError(ValueError):
    """A setting that does not exist, or a value that it does not take."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What autolog records, and where to.

    Made by :func:`autolog.enable` from its keyword arguments; every field can also be set by an
    environment variable, ``AUTOLOG_`` and the field's name in capitals.

    Raises:
        SettingError: a value of a wrong type or outside its range, or an unknown ``AUTOLOG_*`` variable.
    """

    project: str | None = None
    """Trackio project. None: ``TRACKIO_PROJECT``, else the name of the git repository or folder."""

    run_name: str | None = None
    """Name of the runs. None: ``TRACKIO_RUN``, else what is trained and what you have set, with an id:
    ``HistGB depth=5 ·4027``."""

    group: str | None = None
    """Trackio group of the runs. None: the name of the outermost run that encloses them, if any."""

    tags: tuple[str, ...] = ()
    """Tags of every run (a comma-separated list in ``AUTOLOG_TAGS``)."""

    sink: Any = "trackio"
    """Where records go: ``"trackio"``, ``"memory"``, or a sink object (``autolog.MemorySink()``)."""

    server_url: str | None = None
    """A self-hosted Trackio server; a ``write_token`` in it is taken out and kept apart."""

    write_token: str | None = field(default=None, repr=False)
    """The server's write token. Never stored, never printed."""

    space_id: str | None = None
    """A Hugging Face Space, ``user/space``."""

    private: bool = True
    """Whether a Space that has to be created is private."""

    share: tuple[str, ...] = ()
    """What may leave the machine for a server or Space, of ``data``, ``predictions``, ``code``."""

    quiet: bool = False
    """True: not even the one line per run."""

    finish_timeout: float = 2.0
    """Seconds that ``autolog.finish()`` and the interpreter's exit wait for delivery at most."""

    detach: bool | None = None
    """Whether what is left when the program ends is delivered by a process that stays behind. None: wherever
    one can outlive the program; not in a container that ends with it, under CI, Kubernetes, SLURM, a systemd
    unit or pytest, nor for a temporary directory. There the exit delivers, within ``finish_timeout``."""

    detach_timeout: float = 600.0
    """Seconds after which that process ends, whatever is left."""

    nested: bool = True
    """Whether what another framework trains inside of a training (in a callback, or for a metric) is a run
    below it; else it is not recorded."""

    log_models: bool = True
    """Whether a trained model is kept as an artifact of type ``model``."""

    artifact_limit: int = 100_000_000
    """Bytes. A larger model is not copied; the run says so."""

    storage_limit: int = 5_000_000_000
    """Bytes that a project's artifacts may take in Trackio's directory (of a server or Space: those that this
    machine has sent). A model or checkpoint beyond that is not copied, and the run says so; the last tenth is
    for the best model of a search, the best and last checkpoint, and failed runs. Nothing that is stored is
    removed. What ``run.artifact`` is given is counted, and kept in any case."""

    log_data: bool = True
    """Whether the data's schema, fingerprint and first rows are recorded."""

    fingerprint: str = "auto"
    """How much of the data its fingerprint is of: ``auto``: up to 100 MB of numbers and 10 MB of texts all,
    beyond that evenly spaced rows (``sampled`` says so); ``full``: all, some 0.5 s for a GB of numbers."""

    log_code: bool = True
    """Whether entry script, git diff, packages and environment files are recorded."""

    log_every_n_steps: int = 50
    """Optimizer steps between two rows of a training that tells of its batches; 0: epochs only."""

    log_gradients: bool = True
    """Whether gradient norms are recorded, every ``log_every_n_steps``, within a tenth of the budget."""

    gradient_modules: int = 8
    """Modules (Keras: layers) that may have gradient norms of their own, a chart each. Of a model with more
    of them only the norm of all gradients is recorded, and the run says so; alerts look at each anyway."""

    compiled_steps: bool = False
    """Keras on JAX and TensorFlow: whether to look inside the compiled steps, where alone gradients exist.
    Adds gradient norms, and the held-out predictions of every kind of model and input; costs one more
    compilation per ``fit`` and ``evaluate``."""

    evaluate_every_n_epochs: int = 0
    """Epochs between two confusion matrices (or residuals) of the validation data; 0: at the end only."""

    search_runs: int = 0
    """How many of a search's best candidates become runs of their own, below the search's."""

    trials: str = "auto"
    """Which of a study's trials become runs below it: ``auto``: those in which something trains, logs or
    reports; ``runs``: all; ``rows``: none, and what trains inside of them is not recorded."""

    evaluate_training_data: bool = True
    """Whether metrics on the training data are computed after a fit, within the budget."""

    report: bool = True
    """Whether a run that lasted two seconds or more, and the last and best one of a program, ends with a
    report: a page on this machine, and Markdown among Trackio's reports. Of a Space's none."""

    budget: float = 0.05
    """Optional captures may take this share of the training's own work, and of one second beside it: by a
    table, so that what is recorded does not depend on the clock, which only ends what takes far longer."""

    system_interval: float = 10.0
    """Seconds between two samples of the machine's CPU, memory and GPU; 0 turns them off."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item.name, getattr(self, item.name))
        if self.server_url and self.space_id:
            raise SettingError(
                f"server_url={self.server_url!r} and space_id={self.space_id!r} are both set: "
                "runs go to one place. Leave one of them out."
            )

    @classmethod
    def from_environment(cls, **overrides: Any) -> Settings:
        """Settings from keyword arguments, then the environment, then defaults.

        Raises:
            SettingError: an unknown setting or a wrong value; the message lists what is valid.
        """
        return cls()._with(_read_environment(os.environ, overrides), overrides)

    @classmethod
    def checked_elsewhere(cls, values: Mapping[str, Any]) -> Settings:
        """From the values of another process, which has checked them: a worker is not to wait for that."""
        settings = cls()
        vars(settings).update(values)
        return settings

    def updated(self, **overrides: Any) -> Settings:
        """A copy with some fields replaced.

        Raises:
            SettingError: an unknown setting or a wrong value; the message lists what is valid.
        """
        return self._with({}, overrides)

    def filled(self, **suggested: str) -> Settings:
        """A copy in which fields that say nothing (None) are as suggested.

        Raises:
            SettingError: a wrong value.
        """
        is_elsewhere = self.server_url is not None or self.space_id is not None
        return self.updated(
            **{
                name: value
                for name, value in suggested.items()
                if getattr(self, name) is None and not (name == "space_id" and is_elsewhere)
            }
        )

    def _with(self, variables: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
        known = {item.name for item in fields(self)}
        for name in overrides:
            if name not in known:
                from autolog.core.words import of_settings

                raise SettingError(_unknown("setting", name, sorted(known), of_settings(name)))
        values = {**variables, **overrides}
        for name in ("tags", "share"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        if values.get("server_url"):
            values["server_url"], token = _without_token(str(values["server_url"]))
            if token and "write_token" not in overrides:
                values["write_token"] = token
        return replace(self, **values)


def _read_environment(environment: Mapping[str, str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    by_name = {item.name: item for item in fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("AUTOLOG_") or variable in _switches:
            continue
        name = variable.removeprefix("AUTOLOG_").lower()
        if name not in by_name:
            known = sorted({f"AUTOLOG_{known.upper()}" for known in by_name} | _switches)
            raise SettingError(_unknown("environment variable", variable, known))
        if text:
            values[name] = _parse(variable, text, str(by_name[name].type))
    for name, variable in _TRACKIO_VARIABLES.items():
        text = environment.get(variable, "")
        # A place given by hand (server or Space) is not overruled by the other kind from outside.
        another_place = {"server_url": "space_id", "space_id": "server_url"}.get(name)
        if text and not (another_place and (overrides.get(another_place) or another_place in values)):
            values.setdefault(name, text)
    return values


def know_switch(variable: str) -> None:
    """A variable ``AUTOLOG_*`` that somebody else reads is no unknown one."""
    _switches.add(variable)


def _parse(variable: str, text: str, type_name: str) -> Any:
    if type_name.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if type_name.startswith("bool"):
        return truth(variable, text)
    if type_name in ("int", "float"):
        try:
            return int(text) if type_name == "int" else float(text)
        except ValueError:
            raise SettingError(
                f"{variable}={text!r}: expected {'a whole number' if type_name == 'int' else 'a number'}."
            ) from None
    return text


def truth(variable: str, text: str) -> bool:
    """Whether a variable says yes.

    Raises:
        SettingError: it says neither yes nor no.
    """
    word = text.strip().lower()
    if word not in _TRUTHS:
        raise SettingError(f"{variable}={text!r}: expected one of {', '.join(_TRUTHS)}.")
    return _TRUTHS[word]


def disabled_by_environment() -> bool:
    """Whether ``AUTOLOG_DISABLE`` turns everything off."""
    return truth("AUTOLOG_DISABLE", os.environ.get("AUTOLOG_DISABLE") or "0")


def _check(name: str, value: Any) -> None:
    if name == "sink":
        by_name = isinstance(value, str) and value in ("trackio", "memory")
        missing = [method for method in _SINK_METHODS if not callable(getattr(value, method, None))]
        if not by_name and (isinstance(value, (str, type)) or missing):
            raise SettingError(
                f"sink={value!r}: expected 'trackio', 'memory' or a sink object such as autolog.MemorySink()."
                + ("" if isinstance(value, (str, type)) else f" It has no {', '.join(missing)}.")
                + " What a sink of your own has to do: see autolog.sinks.Sink."
            )
    elif name in ("tags", "share"):
        if not isinstance(value, tuple) or not all(isinstance(part, str) for part in value):
            raise SettingError(f"{name}={value!r}: expected a list of strings.")
        if name == "share" and (wrong := [part for part in value if part not in SHAREABLE]):
            raise SettingError(_unknown("kind of record in share", wrong[0], SHAREABLE))
    elif name == "detach":
        if value not in (True, False, None) or (
            isinstance(value, (int, float)) and not isinstance(value, bool)
        ):
            raise SettingError(f"detach={value!r}: expected True, False or None. How long: detach_timeout.")
    elif isinstance(_DEFAULTS.get(name), bool):
        if not isinstance(value, bool):
            raise SettingError(f"{name}={value!r}: expected True or False.")
    elif isinstance(_DEFAULTS.get(name), (int, float)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value < float("inf"):
            raise SettingError(f"{name}={value!r}: expected a finite number that is not negative.")
        if isinstance(_DEFAULTS[name], int) and value != int(value):
            raise SettingError(f"{name}={value!r}: expected a whole number.")
    elif name == "trials":
        if value not in TRIALS:
            raise SettingError(_unknown("kind of trials", str(value), TRIALS))
    elif name == "fingerprint":
        if value not in FINGERPRINTS:
            raise SettingError(_unknown("kind of fingerprint", str(value), FINGERPRINTS))
    elif value is not None and (not isinstance(value, str) or not value.strip()):
        raise SettingError(f"{name}={value!r}: expected a text that is not empty, or None.")
    elif name == "server_url" and value and not value.startswith(("http://", "https://")):
        raise SettingError(f"server_url={value!r}: expected a URL that begins with http:// or https://.")
    elif name == "space_id" and value and value.count("/") != 1:
        raise SettingError(f"space_id={value!r}: expected 'user/space' or 'organization/space'.")
    elif name == "project" and value:
        check_project(value)


def check_project(name: str) -> None:
    """Refuse what Trackio would refuse, before anything is recorded under it.

    Raises:
        SettingError: a name that Trackio keeps for itself.
    """
    from autolog.sinks.trackio import names  # not before a name is given: it costs a millisecond

    try:
        names.check_project(name)
    except ValueError as error:
        raise SettingError(str(error)) from None


def default_project() -> str:
    """The repository's or folder's name, made into one that Trackio takes."""
    from autolog.capture.origin.project import project_name
    from autolog.sinks.trackio.names import fitting_project

    return fitting_project(project_name())


def _without_token(url: str) -> tuple[str, str | None]:
    from autolog.sinks.trackio.names import split_token

    try:
        return split_token(url)
    except ValueError as error:
        raise SettingError(str(error)) from None


def _unknown(what: str, name: str, known: Any, ours: str | None = None) -> str:
    close = [ours] if ours is not None else difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}.{hint} Valid: {', '.join(known)}."


_DEFAULTS = {item.name: item.default for item in fields(Settings) if item.name not in ("tags", "share")}


_current: Settings | None = None


def current() -> Settings:
    """The settings in force: those of the last ``enable``, else of the environment."""
    return _current if _current is not None else Settings.from_environment()


def destination_of(settings: Settings) -> Destination:
    """The place that the settings name."""
    from autolog.sinks.identity import LOCAL  # not in a worker that only takes them over

    if settings.space_id:
        return "space", settings.space_id
    if settings.server_url:
        return "server", settings.server_url
    return LOCAL


def in_force() -> Settings | None:
    """What the last ``enable`` put in force; None: nothing, the environment's are read when needed."""
    return _current


def use(settings: Settings | None) -> None:
    """Put settings in force (None: the environment's)."""
    global _current  # the process has one set of settings in force
    _current = settings
