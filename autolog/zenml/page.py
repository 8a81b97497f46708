"""Makes ZenML's documentation page on Trackio work as it is written: adds its attributes to ``trackio``.

>>> AUTOLOG_ZENML_PAGE=1 zenml experiment-tracker register trackio_tracker --flavor=trackio --project=churn

>>> from zenml.integrations.trackio.experiment_trackers import get_trackio_run
>>> from zenml.integrations.trackio.flavors import TrackioExperimentTrackerSettings

The flavor of that name in ZenML knows none of this. With the variable, and only then, it takes the page's
attributes as well; a tracker that was registered with its own attributes stays the tracker that it was.

What ZenML imports is extended after its import; nothing of ZenML is imported from here before.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from autolog.process.imports import when_imported

__all__ = ["begin"]

_THEIRS = "zenml.integrations.trackio"
_FLAVOR = f"{_THEIRS}.flavors.trackio_experiment_tracker_flavor"


def begin() -> None:
    """Wait for ZenML's integration to be imported. It may be called again."""
    when_imported(_FLAVOR, _extend_flavor)
    when_imported(f"{_THEIRS}.flavors", _add_settings)
    when_imported(f"{_THEIRS}.experiment_trackers", _add_get_trackio_run)
    for module, name in (("step_run", "StepRunResponse"), ("pipeline_run", "PipelineRunResponse")):
        when_imported(f"zenml.models.v2.core.{module}", functools.partial(_add_value, module, name))


class _Url(str):
    """A URL that is read as the page has it: ``step.run_metadata["experiment_tracker_url"].value``."""

    __slots__ = ()

    @property
    def value(self) -> str:
        return str(self)

    def __reduce__(self) -> Any:
        return str, (str(self),)


def _add_value(module: str, name: str) -> None:
    """What is read of a run's metadata: ZenML's own is left as it is, a copy is given out."""
    response: Any = getattr(sys.modules[f"zenml.models.v2.core.{module}"], name)
    theirs = response.run_metadata

    def run_metadata(self: Any) -> dict[str, Any]:
        known: dict[str, Any] = theirs.fget(self)
        url = known.get("experiment_tracker_url")
        return {**known, "experiment_tracker_url": _Url(url)} if isinstance(url, str) else known

    response.run_metadata = property(run_metadata, doc=theirs.__doc__)


def _add_settings() -> None:
    from autolog.zenml.config import TrackioExperimentTrackerSettings

    module: Any = sys.modules[f"{_THEIRS}.flavors"]
    module.TrackioExperimentTrackerSettings = TrackioExperimentTrackerSettings


def _add_get_trackio_run() -> None:
    from autolog.zenml.steps import get_trackio_run

    module: Any = sys.modules[f"{_THEIRS}.experiment_trackers"]
    module.get_trackio_run = get_trackio_run


def _extend_flavor() -> None:
    flavor: Any = sys.modules[_FLAVOR].TrackioExperimentTrackerFlavor
    flavor.config_class = property(lambda self: _config_class())
    flavor.implementation_class = property(lambda self: _implementation_class())


@functools.cache
def _config_class() -> Any:
    """A class of configurations that takes the page's attributes, or those of ZenML's own flavor."""
    from pydantic import model_validator

    from autolog.zenml.config import TrackioExperimentTrackerConfig as Page

    theirs: Any = sys.modules[_FLAVOR].TrackioExperimentTrackerConfig
    of_page = {"workspace", "project", "api_key", "base_url", "metadata"}

    class TrackioExperimentTrackerConfig(Page, theirs):  # type: ignore[misc]
        @property
        def is_theirs(self) -> bool:
            """Whether it was registered with the attributes of ZenML's own flavor."""
            return bool(self.model_fields_set & (theirs.model_fields.keys() - Page.model_fields.keys()))

        @model_validator(mode="after")
        def _is_one_of_both(self) -> Any:
            mixed = sorted(name for name in of_page & self.model_fields_set if self.__dict__[name])
            if self.is_theirs and mixed:
                raise ValueError(
                    f"{', '.join(mixed)} of ZenML's page on Trackio stand beside attributes of ZenML's own "
                    "flavor (project_name, server_url, space_id, hf_token, ...). Use the one or the other."
                )
            return self

    return TrackioExperimentTrackerConfig


@functools.cache
def _implementation_class() -> Any:
    """Our tracker, or ZenML's for a configuration that was made for it."""
    from autolog.zenml.tracker import TrackioExperimentTracker as Ours

    class TrackioExperimentTracker(Ours):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if kwargs["config"].is_theirs:
                from zenml.integrations.trackio.experiment_trackers import TrackioExperimentTracker

                return TrackioExperimentTracker(*args, **kwargs)
            return super().__new__(cls)

    return TrackioExperimentTracker
