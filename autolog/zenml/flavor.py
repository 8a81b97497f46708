"""The flavor: how ZenML finds the tracker, and what the tracker can be told.

ZenML stores the flavor by its path (``autolog.zenml.flavor.TrackioExperimentTrackerFlavor``) in every store
that it is registered in, so this file stays where it is.
"""

from __future__ import annotations

from zenml.experiment_trackers.base_experiment_tracker import BaseExperimentTrackerFlavor

from autolog.zenml.config import FLAVOR, TrackioExperimentTrackerConfig
from autolog.zenml.tracker import TrackioExperimentTracker

__all__ = ["TrackioExperimentTrackerFlavor"]


class TrackioExperimentTrackerFlavor(BaseExperimentTrackerFlavor):  # type: ignore[misc]
    """The flavor ``trackio-autolog``. (A flavor of the name ``trackio`` is in ZenML already.)"""

    @property
    def name(self) -> str:
        return FLAVOR

    @property
    def display_name(self) -> str:
        return "Trackio (autolog)"

    @property
    def logo_url(self) -> str:
        return "https://public-flavor-logos.s3.eu-central-1.amazonaws.com/experiment_tracker/trackio.png"

    @property
    def docs_url(self) -> str:
        return "https://docs.zenml.io/stacks/stack-components/experiment-trackers/trackio"

    @property
    def config_class(self) -> type[TrackioExperimentTrackerConfig]:
        return TrackioExperimentTrackerConfig

    @property
    def implementation_class(self) -> type[TrackioExperimentTracker]:
        return TrackioExperimentTracker
