"""A tracker that tracks somewhere else, as those of MLflow and W&B do."""

from __future__ import annotations

from typing import Any

from zenml.experiment_trackers.base_experiment_tracker import (
    BaseExperimentTracker,
    BaseExperimentTrackerConfig,
    BaseExperimentTrackerFlavor,
)
from zenml.metadata.metadata_types import Uri


class Tracker(BaseExperimentTracker):
    def get_step_run_metadata(self, info: Any) -> dict[str, Any]:
        return {"experiment_tracker_url": Uri("https://elsewhere.example.org")}


class ElsewhereFlavor(BaseExperimentTrackerFlavor):
    @property
    def name(self) -> str:
        return "elsewhere"

    @property
    def config_class(self) -> type[BaseExperimentTrackerConfig]:
        return BaseExperimentTrackerConfig

    @property
    def implementation_class(self) -> type[BaseExperimentTracker]:
        return Tracker
