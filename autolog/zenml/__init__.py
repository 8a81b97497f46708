"""ZenML: an experiment tracker whose steps are runs, and a step's run for what is trained inside of it.

>>> zenml experiment-tracker flavor register autolog.zenml.TrackioExperimentTrackerFlavor
>>> zenml experiment-tracker register trackio_tracker --flavor=trackio-autolog --project=churn
>>> zenml stack register trackio_stack -e trackio_tracker -o default -a default --set

>>> @step(experiment_tracker="trackio_tracker")
... def train(data: pd.DataFrame) -> ClassifierMixin:
...     run = autolog.zenml.get_trackio_run()

Without a tracker, or with another one: ``autolog.enable()``, in the step or where the pipeline is defined,
and what is trained in a step is recorded in a run of that step.

ZenML tells a tracker neither of a step's exception, nor of inputs that cannot be loaded, nor of outputs that
cannot be stored. So one hook stands around ``StepRunner.run``, which is the whole of one attempt of a step.
Another one sees the steps that are cached, of which a tracker is not told at all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.zenml.config import TrackioExperimentTrackerConfig, TrackioExperimentTrackerSettings
    from autolog.zenml.flavor import TrackioExperimentTrackerFlavor
    from autolog.zenml.run import StepRun
    from autolog.zenml.steps import get_trackio_run
    from autolog.zenml.tracker import TrackioExperimentTracker

__all__ = [
    "HOOKS",
    "StepRun",
    "TrackioExperimentTracker",
    "TrackioExperimentTrackerConfig",
    "TrackioExperimentTrackerFlavor",
    "TrackioExperimentTrackerSettings",
    "get_trackio_run",
]

_LAZY = {
    "StepRun": "run",
    "TrackioExperimentTracker": "tracker",
    "TrackioExperimentTrackerConfig": "config",
    "TrackioExperimentTrackerFlavor": "flavor",
    "TrackioExperimentTrackerSettings": "config",
    "get_trackio_run": "steps",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


HOOKS = [
    Hook(
        "zenml.orchestrators.step_runner",
        "StepRunner.run",
        "autolog.zenml.steps:observe_step",
        records="steps of pipelines as runs",
    ),
    Hook(
        "zenml.orchestrators.step_run_utils",
        "publish_cached_step_run",
        "autolog.zenml.steps:observe_cached",
        kind="after",
        records="the runs of cached steps in the URL of their pipeline run",
    ),
]
