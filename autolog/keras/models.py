"""A Keras model in its run: how many parameters, its summary, the model itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from autolog.core.recording import Recording
from autolog.keras.described import has_lambdas

__all__ = ["is_kept", "record_model", "record_summary"]


def record_summary(run: Recording, model: Any, *, key: str = "model") -> None:
    """The numbers of parameters, and the summary as a text."""
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    run.describe({f"{key}/parameters": model.count_params(), f"{key}/trainable_parameters": trainable})
    if not run.records:
        return
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    path = run.stage(f"{model.name}-summary.txt")
    path.write_text("\n".join(lines), encoding="utf-8")
    run.staged_artifact(f"{key}-summary".replace("/", "-"), "text", {"model-summary.txt": path})


def is_kept(run: Recording, model: Any) -> bool:
    """Whether the settings let it be kept; that it is too large is said in the run."""
    if not run.settings.log_models or not run.records:
        return False
    if _bytes_of(model) > run.settings.artifact_limit:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return False
    return True


def record_model(run: Recording, model: Any) -> None:
    """The model as an artifact, up to ``Settings.artifact_limit``."""
    if not is_kept(run, model):
        return
    name = "model.keras"
    path = run.stage(f"{model.name}.keras")
    try:
        if has_lambdas(model):  # nobody should load such a file unseen, and Keras warns of writing it
            name, path = "model.weights.h5", run.stage(f"{model.name}.weights.h5")
            model.save_weights(path)
            run.note("model", "its weights only: it has a lambda in it")
        else:
            model.save(path)
    except Exception as error:  # a class that is not registered, say
        run.note_lost("model", f"not kept: {type(error).__name__}: {error}")
        return
    run.staged_artifact(f"model-{model.name}", "model", {name: path}, {"bytes": path.stat().st_size})


def _bytes_of(model: Any) -> int:
    """About how much the model's file takes."""
    return sum(int(np.prod(variable.shape)) * 4 for variable in model.variables)
