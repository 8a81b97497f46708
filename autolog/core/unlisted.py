"""Names that are no line of the table of frameworks, and what to write instead of turning them on."""

from __future__ import annotations

__all__ = ["instead_of"]

_LOOP = """\
a loop of your own is not watched by itself. Write to a run in it:

    with autolog.run() as run:
        ...
        run.log({"train/loss": float(loss)}, step=step)"""

_TORCH = """\
a training loop of your own is watched by hand, at the steps of its optimizer:

    with autolog.torch.watch(model, optimizer) as watch:
        ...
        optimizer.step()
        watch.log({"train/loss": loss.item()})

Who trains by Lightning, transformers or Keras turns those on: autolog.enable("lightning")."""

_ACCELERATE = """\
accelerate's loops log to a tracker, which is given to the Accelerator:

    accelerator = Accelerator(log_with=autolog.accelerate.TrackioTracker())
    accelerator.init_trackers("my_project", config={"lr": 0.01})
    accelerator.log({"train/loss": loss.item()}, step=step)
    accelerator.end_training()

transformers' own Trainer, which uses accelerate, is recorded by autolog.enable("transformers")."""


def _belongs_to(framework: str, what: str) -> str:
    return f'{what}. Write:\n\n    autolog.enable("{framework}")'


_KERAS = _belongs_to(
    "keras", "Keras 3 is recorded, by whichever name it is imported (tf_keras, which is Keras 2, is not)"
)
_TRAINER = _belongs_to(
    "transformers", "a Trainer that inherits from transformers' is recorded as that one is"
)

_INSTEAD = {
    "xgb": _belongs_to("xgboost", "XGBoost is recorded by its whole name"),
    "lgb": _belongs_to("lightgbm", "LightGBM is recorded by its whole name"),
    "imblearn": _belongs_to("sklearn", "imbalanced-learn's pipelines and models are scikit-learn's in kind"),
    "torch": _TORCH,
    "accelerate": _ACCELERATE,
    "tensorflow": _KERAS,
    "tf_keras": _KERAS,
    "keras_tuner": _belongs_to("keras", "KerasTuner's searches are recorded with Keras"),
    "trl": _TRAINER,
    "peft": _TRAINER,
    "shap": _belongs_to("sklearn", "SHAP values are recorded in the run of their model, with scikit-learn's"),
    "jax": _LOOP,
    "trackio": "Trackio is where records go, whatever is turned on.",
}

_OTHER_NAMES = {
    "pytorch": "torch",
    "lgbm": "lgb",
    "imbalanced_learn": "imblearn",
    "tf": "tensorflow",
    "kerastuner": "keras_tuner",
    "flax": "jax",
    "optax": "jax",
}


def instead_of(name: str) -> str | None:
    """What to write instead of turning this on; None: that is not known.

    Args:
        name: in lower case, with underscores.
    """
    return _INSTEAD.get(_OTHER_NAMES.get(name, name))
