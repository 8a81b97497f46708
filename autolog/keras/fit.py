"""What is recorded around a Keras ``fit`` and ``evaluate``."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from autolog.capture import datasets, evaluation
from autolog.core.catalogue import is_on
from autolog.core.guard import shield, watching
from autolog.core.hooks import Call, Outcome
from autolog.core.ownership import Training, begin_training, conclude, find_run, innermost
from autolog.core.run import Run
from autolog.keras.callback import Recorder, TrackioCallback, short
from autolog.keras.checkpoints import Checkpoints
from autolog.keras.predictions import Kept

__all__ = ["observe_evaluate", "observe_fit"]

Frame = Generator[None, Outcome, None]

# Arguments of `fit` that are hyperparameters, and no data.
_ARGUMENTS = (
    "batch_size",
    "epochs",
    "initial_epoch",
    "steps_per_epoch",
    "shuffle",
    "class_weight",
    "validation_split",
    "validation_steps",
    "validation_batch_size",
    "validation_freq",
)


def observe_fit(call: Call) -> Frame:
    """One run per training. In a search of scikit-learn's the first one writes into the search's run."""
    model, callbacks = call.subject, _as_list(call.get("callbacks"))
    ours = next((callback for callback in callbacks if isinstance(callback, TrackioCallback)), None)
    if (ours is None and not is_on("keras")) or _is_one_of_many():
        yield
        return
    with watching("keras"):  # first: if this run cannot be opened, its inner calls are no runs either
        try:
            training = begin_training(model, type(model).__name__, given=ours.run if ours else None)
        except Exception:
            yield
            raise
        yield from _observe(training, call, model, callbacks)


def _is_one_of_many() -> bool:
    """Whether this is the second or later training of a scikit-learn search, or of its folds."""
    run = innermost()
    return watching.active("sklearn") and run is not None and run.is_claimed


def _observe(training: Training, call: Call, model: Any, callbacks: list[Any]) -> Frame:
    run = training.run
    error: BaseException | None = None
    kept = recorder = None
    try:
        with shield("Keras: parameters"):
            _record_parameters(run, call, model, callbacks)
        with shield("Keras: data"):
            _record_data(run, call)
        with shield("Keras: listening"):
            kept = Kept(model)
            recorder = Recorder(run, _batch_size(call), kept, Checkpoints(run, callbacks))
            ours = _with(recorder, call.get("callbacks"), model)
            if isinstance(ours, (list, keras.callbacks.CallbackList)):  # it takes the place of the user's own
                call.replace("callbacks", ours)
        with training.current():
            started = time.perf_counter()
            outcome = yield
            seconds = time.perf_counter() - started
        error = outcome.error
        if recorder is not None:
            with shield("Keras: after the training"):
                recorder.close()
        if error is None and recorder is not None and kept is not None:
            _record_result(run, model, callbacks, kept, recorder.validated, seconds)
    except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
        error = interrupt
        raise
    finally:
        with shield("Keras: the run's end"):  # a fault here must not take the interrupt's place
            try:
                if kept is not None:
                    kept.close()
            finally:
                conclude(training, error)


# Our ears among the callbacks -------------------------------------------------------------------------


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _with(recorder: Recorder, callbacks: Any, model: Any) -> Any:
    """The user's callbacks and ours, in a list of our own; his stays as it is."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        copied = copy.copy(callbacks)
        copied.callbacks = [*callbacks.callbacks, recorder]
        recorder.set_model(model)
        return copied
    return [*_as_list(callbacks), recorder]


# Before -----------------------------------------------------------------------------------------------


def _record_parameters(run: Run, call: Call, model: Any, callbacks: list[Any]) -> None:
    given = {name: call.get(name) for name in _ARGUMENTS if call.get(name) is not None}
    given.setdefault("batch_size", _batch_size(call))
    optimizer = getattr(model, "optimizer", None)
    settings = optimizer.get_config() if optimizer is not None else {}
    for name, value in settings.items():
        given[f"optimizer/{name}"] = _plain(value)
    given |= {"loss": _name_of(model.loss)} if getattr(model, "loss", None) is not None else {}
    names = [_name_of(callback) for callback in callbacks]
    run.describe(
        {
            "framework": "keras",
            "framework/version": keras.__version__,
            "framework/backend": keras.backend.backend(),
            "model": type(model).__name__,
            "model/class": f"{type(model).__module__}.{type(model).__qualname__}",
            "model/name": model.name,
            "optimizer": type(optimizer).__name__ if optimizer is not None else None,
            "precision": model.dtype_policy.name,
            "callbacks": names,
            **{f"params/{key}": given[key] for key in ("epochs", "batch_size", "loss") if key in given},
            **_learning_rate(settings),
        }
    )
    run.params(given)


def _learning_rate(settings: Mapping[str, Any]) -> dict[str, Any]:
    rate = settings.get("learning_rate")
    return {"params/learning_rate": short(rate)} if isinstance(rate, (int, float)) else {}


def _plain(value: Any) -> Any:
    """A part of a config: a schedule is what it is made from."""
    if isinstance(value, Mapping) and "class_name" in value:
        return {"class": value["class_name"], **value.get("config", {})}
    return short(value) if isinstance(value, (float, np.floating)) else value


def _name_of(thing: Any) -> Any:
    """A loss, metric or callback as a person calls it."""
    if isinstance(thing, str):
        return thing
    if isinstance(thing, (list, tuple)):
        return [_name_of(part) for part in thing]
    if isinstance(thing, Mapping):
        return {str(key): _name_of(part) for key, part in thing.items()}
    name = getattr(thing, "name", None) or getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__


def _batch_size(call: Call) -> int | None:
    """As Keras takes it: 32 for arrays, the loader's own otherwise."""
    given = call.get("batch_size")
    if given is not None:
        return int(given)
    x = call.get("x")
    own = getattr(x, "batch_size", None)
    if isinstance(own, int):
        return own
    return 32 if hasattr(x, "shape") or isinstance(x, (list, tuple)) else None


def _record_data(run: Run, call: Call) -> None:
    if not run.settings.log_data:
        return
    described = datasets.describe(call.get("x"), call.get("y"))
    run.describe({"data/train": described.config()})
    for what in described.notes:
        run.note("data/train", what)
    validation = call.get("validation_data")
    if isinstance(validation, (list, tuple)) and len(validation) >= 2:
        run.describe({"data/val": datasets.describe(validation[0], validation[1]).config()})


# After ------------------------------------------------------------------------------------------------


def _record_result(
    run: Run, model: Any, callbacks: list[Any], kept: Kept, validated: set[str], seconds: float
) -> None:
    with shield("Keras: model"):
        run.log({"perf/fit_seconds": seconds}, step=run.last_step)
        trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        run.describe({"model/parameters": model.count_params(), "model/trainable_parameters": trainable})
        lines: list[str] = []
        model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
        path = run.stage("model-summary.txt")
        path.write_text("\n".join(lines), encoding="utf-8")
        run.staged_artifact("model-summary", "text", {"model-summary.txt": path})
    with shield("Keras: what callbacks chose"):
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.EarlyStopping):
                run.describe(
                    {
                        "early_stopping/stopped_epoch": callback.stopped_epoch + 1
                        if callback.stopped_epoch
                        else None,
                        "early_stopping/best_epoch": callback.best_epoch + 1,
                        "early_stopping/best": callback.best,
                        "early_stopping/monitor": callback.monitor,
                    }
                )
    with shield("Keras: held-out evaluation"):
        _record_evaluation(run, "val", model, kept, validated)
    with shield("Keras: model artifact"):
        _record_model(run, model)


def _record_model(run: Run, model: Any) -> None:
    if not run.settings.log_models or not run.records:
        return
    size = sum(int(np.prod(variable.shape)) * 4 for variable in model.variables)
    if size > run.settings.artifact_limit:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    path = run.stage("model.keras")
    try:
        model.save(path)
    except Exception as error:  # a class that is not registered, say
        run.note("model", f"not kept: {type(error).__name__}: {error}")
        return
    run.staged_artifact(f"model-{model.name}", "model", {"model.keras": path}, {"bytes": path.stat().st_size})


# Held-out evaluation ----------------------------------------------------------------------------------


def observe_evaluate(call: Call) -> Frame:
    """An evaluation by hand: in the run of the model's training as ``test/*``, or in one of its own."""
    model = call.subject
    run = find_run(model)
    if run is None and not is_on("keras"):
        yield
        return
    with watching("keras"):
        training = None
        if run is None:
            try:
                training = begin_training(model, f"{type(model).__name__}-evaluate")
            except Exception:
                yield
                raise
            run = training.run
        kept = Kept(model)
        kept.begin()
        error: BaseException | None = None
        try:
            outcome = yield
            error = outcome.error
            kept.end()
            if error is None:
                with shield("Keras: evaluation"):
                    _record_test(run, call, model, kept)
        except BaseException as interrupt:
            error = interrupt
            raise
        finally:
            with shield("Keras: the run's end"):
                kept.close()
                if training is not None:
                    conclude(training, error)


_tests: weakref.WeakKeyDictionary[Run, dict[str, str]] = weakref.WeakKeyDictionary()


def _record_test(run: Run, call: Call, model: Any, kept: Kept) -> None:
    seen = _tests.setdefault(run, {})
    mark = datasets.fingerprint(call.get("x"), call.get("y"))
    number = len(seen) + 1
    name = seen.setdefault(mark, "test" if number == 1 else f"test/set-{number}")
    host = keras.ops.convert_to_numpy
    metrics = {f"{name}/{key}": float(host(value)) for key, value in model.get_metrics_result().items()}
    run.log(metrics, step=run.last_step)
    _record_evaluation(run, name, model, kept, set(metrics))


def _record_evaluation(run: Run, name: str, model: Any, kept: Kept, told: set[str]) -> None:
    """What can be said of the predictions, beside the metrics that Keras has told itself."""
    arrays = kept.arrays()
    if arrays is None:
        if kept.too_large:
            run.note(f"{name}/confusion_matrix", "left out: the validation data is too large to be kept")
        elif keras.backend.backend() != "torch":
            run.note(f"{name}/confusion_matrix", f"not recorded on the {keras.backend.backend()} backend")
        return
    truth, predicted = arrays
    try:
        result = _evaluated(model, truth, predicted)
    except ValueError as error:
        run.note(name, f"not evaluated: {error}")
        return
    more = {key: value for key, value in result.metrics.items() if f"{name}/{key}" not in told}
    run.evaluation(name, replace(result, metrics=more))


def _evaluated(model: Any, truth: Any, predicted: Any) -> evaluation.Evaluation:
    """Classification or regression, as the loss says; labels may be numbers or one-hot rows."""
    loss = str(_name_of(getattr(model, "loss", "")) or "").lower()
    if "crossentropy" not in loss and "hinge" not in loss and "focal" not in loss:
        return evaluation.evaluate(truth, predicted.reshape(truth.shape), task="regression")
    if predicted.ndim != 2:
        raise ValueError(f"predictions have shape {predicted.shape}; (rows, classes) was expected")
    scores = _probabilities(predicted)
    if predicted.shape[1] == 1:
        return evaluation.classification(truth.reshape(-1).astype(int), scores=scores[:, 0], classes=[0, 1])
    if truth.ndim == 2 and truth.shape[1] == predicted.shape[1]:
        if "binary" in loss:
            return evaluation.multilabel(truth, (scores > 0.5).astype(int), scores=scores)
        truth = truth.argmax(axis=1)
    classes = list(range(predicted.shape[1]))
    return evaluation.classification(truth.reshape(-1).astype(int), scores=scores, classes=classes)


def _probabilities(predicted: Any) -> Any:
    """Logits become probabilities; what lies between 0 and 1 is taken for them already."""
    if predicted.min() >= 0 and predicted.max() <= 1:
        return predicted
    if predicted.shape[1] == 1:
        return 1 / (1 + np.exp(-predicted))
    shifted = np.exp(predicted - predicted.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
