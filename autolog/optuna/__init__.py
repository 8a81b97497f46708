"""Optuna: a study is a run, and each trial in which something trains, logs or reports a run below it.

>>> import autolog
>>> autolog.enable("optuna")
>>> study.optimize(objective, n_trials=100)  # a run; called again it goes on in it

Or for one call: ``study.optimize(objective, callbacks=[autolog.optuna.TrackioCallback()])``.

Optuna shows a callback neither the end of ``optimize`` nor the trial whose exception ends it, and none of
ask-and-tell. So the hooks stand where both ways meet: around ``_optimize`` and ``_run_trial``, which Optuna
looks up while ``Study.optimize`` runs (a callback that is made inside of that very call comes in time), and
after ``ask``, ``tell`` and ``report``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.optuna.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":
        from autolog.optuna.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


_OBSERVERS = "autolog.optuna.optimize"

HOOKS = [
    Hook("optuna.study.study", "_optimize", f"{_OBSERVERS}:observe_optimize", records="studies by optimize"),
    Hook(
        "optuna.study._optimize",
        "_run_trial",
        f"{_OBSERVERS}:observe_trial",
        records="what trains and logs in a trial, as a run of its own",
    ),
    *(
        Hook(module, path, f"{_OBSERVERS}:{observer}", kind="after", records=records)
        for module, path, observer, records in (
            ("optuna.study.study", "Study.ask", "observe_ask", "studies by ask and tell"),
            (
                "optuna.study._optimize",
                "_tell_with_warning",
                "observe_end_of_trial",
                "why trials have failed",
            ),
            (
                "optuna.study.study",
                "_tell_with_warning",
                "observe_tell",
                "ends of trials that are told by hand",
            ),
            ("optuna.study.study", "Study.add_trial", "observe_add_trial", "trials that are added by hand"),
            ("optuna.trial._trial", "Trial.report", "observe_report", "intermediate values of a trial"),
            ("optuna.trial._trial", "Trial.should_prune", "observe_should_prune", "that a trial was to stop"),
        )
    ),
]
