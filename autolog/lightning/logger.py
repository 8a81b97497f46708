"""A logger for ``Trainer(logger=...)`` and ``Fabric(loggers=...)``.

>>> logger = autolog.lightning.TrackioLogger(name="baseline")
>>> Trainer(logger=logger).fit(module, train_loader, val_loader)
>>> logger.experiment.log({"val/cost": 12.5})  # the run

One logger is one run for all that is done with one module. If it is used for the next one, the fold of a
cross-validation, say, that has a run of its own, in the same group. What a Trainer does is recorded as
``autolog.enable("lightning")`` records it, once: while that goes on, the Trainer's own metrics are written by
the recorder, which knows their stage, and by the logger what else is given to it.
"""

from __future__ import annotations

import atexit
import base64
import dataclasses
import os
import sys
import weakref
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autolog.capture.figures import Chart
from autolog.core import opening
from autolog.core.current import innermost
from autolog.core.opening import given_run, open_run, silent_run
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.run import Run, recording_of
from autolog.core.training import Loop, Training, bind_run, conclude, find_run, open_loops
from autolog.lightning.names import Names
from autolog.lightning.packages import arm
from autolog.lightning.recorder import is_telling
from autolog.process.guard import charge, measured, shield
from autolog.sinks.trackio.names import artifact_name, plain_run_name

if TYPE_CHECKING:
    from autolog.lightning.recorder import Recorder

__all__ = ["TrackioLogger", "logger_of", "loggers_in"]

MOST_PIXELS = 256  # of a side of a picture: as many as are seen


def _loggers() -> tuple[Any, ...]:
    """``Logger`` of each package in use: a command line asks whether a class is one."""
    packages = [sys.modules.get(name) for name in ("lightning.pytorch", "pytorch_lightning")]
    return tuple(package.loggers.Logger for package in packages if package is not None)


class TrackioLogger(*_loggers()):  # type: ignore[misc]
    """Logs into a run in Trackio. Checkpoints go to ``save_dir/name/version/checkpoints``.

    Args:
        name: of the run. None: made up from what is trained.
        save_dir: where folders of runs are made. None: the Trainer's ``default_root_dir``.
        version: name of the run's folder. None: the run's id.
        project: Trackio project. None: as in :class:`autolog.Settings`.
        group: Trackio group.
        tags: words to find it by.
        config: values for the top level of its config.
        run: the run to write to. None: with none of the names above the one that is open, else a new one. It
            ends with a training that fails, the next training of another module, ``autolog.finish()``, the
            logger's life or the program; a ``fit`` after that is a new one.

    Raises:
        TypeError: an argument of a wrong kind, or names for a run that is given.
        SettingError: a project name that Trackio refuses.
        RunError: ``run`` is finished.

    Attributes:
        recorder: who records what the Trainer does, as long as it does it.

    Only rank zero records. For gradients of a loop of Fabric's:
    ``autolog.torch.watch(model, optimizer, run=logger.experiment)``.
    """

    def __init__(
        self,
        name: str | None = None,
        save_dir: str | os.PathLike[str] | None = None,
        version: int | str | None = None,
        project: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        run: Run | None = None,
    ):
        super().__init__()
        self._given = given_run("TrackioLogger", run)
        self._new: dict[str, Any] = {"project": project, "group": group, "tags": tags, "config": config}
        self._name = name
        opening.run(name, **self._new)  # says what is wrong with them, and opens nothing
        if run is not None and (name is not None or any(self._new.values())):
            raise TypeError(
                "TrackioLogger: run= is given, and so are values for a new run. Leave out either run, "
                "or name, project, group, tags and config."
            )
        self._version = version
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._default_dir = "."
        self._training: Training | None = None
        self._trained: weakref.ref[Any] | None = None  # in the run that there is
        self._before: weakref.WeakSet[Recording] = weakref.WeakSet()  # the runs of earlier trainings
        self._begun = 0
        self._told: tuple[str, str] | None = None  # name and version of the run that rank zero has
        self.recorder: Recorder | None = None
        self._checkpoints: dict[str, Any] = {}
        self._names = Names()
        arm()

    def __getstate__(self) -> dict[str, Any]:
        # To a process that Lightning starts: the run is the same one there, and ends here.
        run = self.recording
        nothing: dict[str, Any] = {
            "_training": None,
            "_trained": None,
            "_before": None,
            "_checkpoints": {},
        }
        return {**self.__dict__, **nothing, "_given": run or self._given, "_told": self.trackio_folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        given = state["_given"]  # in a pickle of version 0.1 it is the run as a user has it
        new: dict[str, Any] = {"_trained": None, "_begun": 0, "_told": None, "_names": Names()}  # since 0.1
        self.__dict__.update(
            {**new, **state}, _given=recording_of(given) if isinstance(given, Run) else given
        )
        self._before = weakref.WeakSet()

    # The run ----------------------------------------------------------------------------------------

    @property
    def experiment(self) -> Run:
        """The run. On other ranks than zero one that records nothing."""
        return self._writing().face

    @property
    def run(self) -> Run | None:
        """The run, if it has begun."""
        return self.recording.face if self.recording is not None else None

    @property
    def recording(self) -> Recording | None:
        """The run, if it has begun, as a room writes it."""
        return self._training.run if self._training is not None else None

    def _writing(self) -> Recording:
        return silent_run() if _rank() > 0 else self._opened("run")

    def begin_training(
        self, trainer: Any, module: Any, name: str, given: Recording | None, *, goes_on: bool | None
    ) -> Training:
        """The run for a training that begins: the one that there is, unless it is another module's.

        Args:
            trainer: whose training it is.
            module: what is trained.
            name: of what is trained.
            given: the run of a callback of ours in the same Trainer.
            goes_on: whether it goes on from a checkpoint; None: it is no training, but an evaluation.
        """
        training = self._training
        is_another = self._trained is not None and self._trained() is not module and goes_on is False
        if training is not None and training.owns and training.run.status != "running":
            self._training = None
        elif training is not None and is_another:
            self._training = None
            self._before.add(training.run)
        self._given = self._given or given
        self.is_used_by(trainer)
        run = self._opened(name)
        if goes_on is not None:
            self._trained = weakref.ref(module)
        if training is not None and training.run is not run and is_another:
            _group(training.run, run)
            if training.owns and training.run.status == "running":
                conclude(training)  # of a cross-validation, say: the next fold has its own
        run.is_training = True
        charge(run)
        bind_run(module, run)
        assert self._training is not None
        return self._training

    def turn_to(self, module: Any) -> Recording | None:
        """The run that an evaluation of this module goes on in: its own, if that was one of this logger."""
        run = find_run(module) if module is not None else None
        if run is not None and run is not self.recording and run in self._before:
            if self._training is not None:
                self._before.add(self._training.run)
            self._training = Training(run, owns=True)
        return self.recording

    def is_used_by(self, trainer: Any) -> None:
        """A Trainer begins with this logger, on whatever rank."""
        self._default_dir = trainer.default_root_dir

    def _opened(self, subject: str) -> Recording:
        if self._training is None:
            if self._given is None and (self._name is not None or any(self._new.values())):
                self._begun += 1
                name = f"{self._name}-{self._begun}" if self._name and self._begun > 1 else self._name
                run = open_run(name, parent=innermost(), by_user=False, subject=subject, **self._new)
                self._training = Training(run, owns=True)
            else:
                self._training = begin_training(self, subject, framework=None, given=self._given)
            conclude(self._training, more_to_come=True)
            if self._training.owns:
                _Session(self._training, self)
        return self._training.run

    # Where files go ---------------------------------------------------------------------------------

    # On all ranks the same ones: all of them look for a checkpoint there, and save parts of it.

    @property
    def trackio_folder(self) -> tuple[str, str] | None:
        """Name and id of the run, once it has begun and this rank was told of it: of folders, so plainly."""
        return (artifact_name(self.run.name), self.run.id) if self.run is not None else self._told

    @trackio_folder.setter
    def trackio_folder(self, told: tuple[str, str]) -> None:
        self._told = told

    @property
    def name(self) -> str | None:
        """As it was given; else that of the run, once it has begun."""
        if self._name is not None:
            return plain_run_name(self._name)
        return self.trackio_folder[0] if self.trackio_folder is not None else None

    @property
    def version(self) -> int | str | None:
        """As it was given; else the run's id, once it has begun."""
        return (
            self.trackio_folder[1]
            if self._version is None and self.trackio_folder is not None
            else self._version
        )

    @property
    def save_dir(self) -> str:
        """Where folders of runs are made."""
        return self._default_dir if self._save_dir is None else self._save_dir

    @property
    def root_dir(self) -> str:
        """The folder of all versions."""
        return os.path.join(self.save_dir, str(self.name))

    @property
    def log_dir(self) -> str:
        """The folder of this version."""
        version = self.version
        return os.path.join(self.root_dir, version if isinstance(version, str) else f"version_{version}")

    # What Lightning calls ---------------------------------------------------------------------------

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics at a step, by the names that every framework's runs have: see ``names.py``."""
        if _rank() > 0 or (self.recorder is not None and is_telling()):
            return
        with shield("Lightning: metrics of the logger"):
            run = self._writing()
            charge(run)
            stage = self.recorder.stage if self.recorder is not None else "train"
            names = self.recorder.names if self.recorder is not None else self._names
            names.add(map(str, metrics), stage)
            run.log({names.key(str(name), stage): value for name, value in metrics.items()}, step=step)

    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """Record hyperparameters, and metrics beside them."""
        if _rank() > 0:
            return
        with shield("Lightning: hyperparameters"):
            run = self._writing()
            charge(run)
            given = {str(name): value for name, value in _mapping(params).items()}
            if self.recorder is not None:
                given |= self.recorder.changed_since(given)
            run.params(given)
            # What a person has set is what runs are compared by.
            short = (bool, int, float)
            run.describe(
                {f"params/{name}": value for name, value in given.items() if isinstance(value, short)}
            )
        if isinstance(metrics, Mapping):
            self.log_metrics(metrics, 0)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """A ``ModelCheckpoint`` has saved: its best and its last are kept when the stage ends."""
        if _rank() == 0 and self.recorder is None:  # else it keeps them
            self._checkpoints[checkpoint_callback.state_key] = checkpoint_callback

    def finalize(self, status: str) -> None:
        """A stage has ended, and not the run."""
        if _rank() > 0 or self.recorder is not None:
            return
        with shield("Lightning: checkpoints of the logger"):
            while self._checkpoints:
                _, callback = self._checkpoints.popitem()
                self._keep(callback)
        with shield("Lightning: the end of a stage"):
            training = self._training
            if status == "failed" and training is not None and training.owns:
                training.run.end("failed")

    def _keep(self, callback: Any) -> None:
        run = self._writing()
        chosen: dict[str, list[str]] = {}
        for path, alias in ((callback.best_model_path, "best"), (callback.last_model_path, "last")):
            if path and os.path.exists(path):  # one that was deleted since is none
                chosen.setdefault(path, []).append(alias)
        for path, aliases in chosen.items():
            run.checkpoint(path, aliases)

    # What the user calls ----------------------------------------------------------------------------

    @measured
    def log_image(
        self, key: str, images: Sequence[Any], step: int | None = None, caption: Sequence[str] | None = None
    ) -> None:
        """Record images as one picture.

        Args:
            key: its name.
            images: tensors of shape (channels, height, width) or (height, width), NumPy arrays with the
                channels last, PIL images, or paths; values of 0 to 1 or 0 to 255, others are stretched. What
                is larger than 256 pixels a side is shown smaller.
            step: None: that of the last metrics.
            caption: a text for each.

        Raises:
            TypeError: ``images`` is no list.
            ValueError: another number of captions than of images, or an array that is no image.
        """
        if not isinstance(images, (list, tuple)):
            raise TypeError(
                f"log_image: expected a list of images, got {type(images).__name__}. "
                "Write log_image(key, [image])."
            )
        if caption is not None and len(caption) != len(images):
            raise ValueError(
                f"log_image: {len(images)} images and {len(caption)} captions; expected one for each, "
                "or caption=None."
            )
        if _rank() > 0 or not images:
            return
        titles = caption or [str(place) for place in range(1, len(images) + 1)]
        kind = key.rpartition("/")[2]
        tiles = [
            {"title": str(title), "kind": kind, **_tile(image)}
            for image, title in zip(images, titles, strict=True)
        ]
        self.experiment.figure(key, Chart("images", key, {"tiles": tiles}), step=step)

    @measured
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Any] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record a table.

        Args:
            key: its name.
            columns: names for ``data`` of lists.
            data: rows, as lists or dicts.
            dataframe: of pandas or polars, instead.
            step: None: that of the last metrics.

        Raises:
            TypeError: neither of them, or rows that are no rows.
        """
        rows = data if dataframe is None else dataframe
        self.experiment.table(key, rows, columns=columns if dataframe is None else None, step=step)

    def log_text(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Any] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record texts as a table, see :meth:`log_table`."""
        self.log_table(key, columns, data, dataframe, step)


def logger_of(trainer: Any) -> TrackioLogger | None:
    """The first of our loggers in this Trainer."""
    return next(iter(loggers_in(trainer)), None)


def loggers_in(trainer: Any) -> list[TrackioLogger]:
    """Those of our loggers that are in this Trainer."""
    return [logger for logger in trainer.loggers if isinstance(logger, TrackioLogger)]


def _group(first: Recording, second: Recording) -> None:
    """Two runs of one logger belong together: their group is the first one's name, if they have none."""
    for run in (first, second):
        if run.group is None and run.parent is None and not run.is_adopted:
            run.identity = dataclasses.replace(run.identity, group=first.group or first.name)
            run.put({"group": run.identity.group})


# How a run ends that no Trainer ends ------------------------------------------------------------------


class _Session(Loop):
    """The run that a logger has opened: nobody says when it is over."""

    is_one_training = True

    def __init__(self, training: Training, logger: TrackioLogger):
        super().__init__(training)
        self._logger = weakref.ref(logger)

    def is_abandoned(self) -> bool:
        """Whether the logger is gone."""
        return self._logger() is None and not self.recording.is_training

    def record_the_whole(self) -> None:
        """Nothing: it was all given to the logger."""


@atexit.register
def _at_exit() -> None:
    """What has ended the program has ended these. (In a notebook it is the error of any cell before.)"""
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    for loop in open_loops():
        if isinstance(loop, _Session):
            with shield("Lightning: the end of the program"):
                conclude(loop.training, error)


# What is given ----------------------------------------------------------------------------------------


def _rank() -> int:
    from lightning_utilities.core.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


def _mapping(params: Any) -> Mapping[str, Any]:
    """Hyperparameters however they are kept: dicts, OmegaConf's, argparse's and jsonargparse's namespaces."""
    if params is None:
        return {}
    if hasattr(params, "as_dict"):
        params = params.as_dict()
    return params if isinstance(params, Mapping) else vars(params)


def _tile(image: Any) -> dict[str, Any]:
    """An image as bytes that JSON holds."""
    from PIL import Image

    if isinstance(image, (str, os.PathLike)):
        with Image.open(image) as file:
            image = file.copy()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(_levels(image))
    picture = image.convert("L" if image.mode in ("L", "1") else "RGB")
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    levels = np.asarray(picture)
    return {"shape": list(levels.shape), "pixels": base64.b64encode(levels.tobytes()).decode()}


def _levels(image: Any) -> Any:
    """An array or tensor as 8 bits, its channels last."""
    is_tensor = isinstance(image, torch.Tensor)
    if is_tensor:
        image = image.detach().cpu()
        image = image.float() if image.is_floating_point() else image  # NumPy knows no bfloat16
    array = np.asarray(image)
    if array.ndim == 3 and is_tensor:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or not array.size:
        raise ValueError(
            f"log_image: an array of shape {array.shape} is not an image; expected (height, width), or that "
            "and 1, 3 or 4 channels, which a tensor has first and an array last."
        )
    if array.dtype == np.uint8:
        return array
    array = array.astype("float32")
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if low < 0 or high > 255:
        array = (array - low) / ((high - low) or 1)
    elif high > 1:
        array = array / 255
    return np.nan_to_num(255 * array).clip(0, 255).round().astype("uint8")
