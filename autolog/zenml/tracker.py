"""The tracker: each step that names it is a run, of autolog's own kind."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from zenml.experiment_trackers.base_experiment_tracker import BaseExperimentTracker

from autolog.core import catalogue, outlet
from autolog.core import settings as settings_module
from autolog.core.settings import Settings
from autolog.process.guard import shield
from autolog.zenml import steps
from autolog.zenml.config import (
    FLAVOR,
    SPACE,
    TrackioExperimentTrackerConfig,
    TrackioExperimentTrackerSettings,
)
from autolog.zenml.steps import Step, enter_step, unrecorded

__all__ = ["TrackioExperimentTracker"]


class TrackioExperimentTracker(BaseExperimentTracker):  # type: ignore[misc]
    """Tracks steps in Trackio. One instance may serve several steps at once, in threads."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._leave: dict[UUID, Callable[[], None]] = {}  # of steps that could not be begun, how they end
        with shield("ZenML: watching steps"):  # now: when it is told of a step, the step has begun
            catalogue.arm("zenml")

    FLAVOR = FLAVOR  # as ZenML's page on trackers of one's own asks for

    @property
    def config(self) -> TrackioExperimentTrackerConfig:
        return cast(TrackioExperimentTrackerConfig, self._config)

    @property
    def settings_class(self) -> type[TrackioExperimentTrackerSettings]:
        return TrackioExperimentTrackerSettings

    @property
    def requirements(self) -> set[str]:
        """What a container needs: this autolog, and with it the Trackio that it was tested with."""
        return {_ourselves()}

    def prepare_step_run(self, info: Any) -> None:
        """A step begins: its run is open, and known to ZenML while it goes on."""
        with shield("ZenML: a step begins"):
            step = steps.running(info)
            step.is_ours = True
            with shield("ZenML: opening a step's run"):
                self._open(step, info)
            if step.run is None:
                step.run = unrecorded(step.name)
            step.enter()
            with shield("ZenML: the URL of a step's run"):
                step.publish(self.id)
            return
        with shield("ZenML: a stand-in for a step's run"):
            self._leave[info.step_run_id] = enter_step(unrecorded(info.pipeline_step_name))

    def _open(self, step: Step, info: Any) -> None:
        config = self.config
        said = cast(TrackioExperimentTrackerSettings, self.get_settings(info))
        step.open(
            self._settings(),
            project=said.project or config.project or None,
            run_name=said.run_name,
            tags=said.tags,
            metadata=said.metadata,
        )

    def _settings(self) -> Settings:
        """Those in force, with the place that the tracker names."""
        settings, config = settings_module.current(), self.config
        if config.is_local:
            return settings
        token = None
        with shield("ZenML: the tracker's api_key"):  # a secret that is gone: all is kept on disk meanwhile
            token = config.api_key
        if config.base_url:
            settings = settings.updated(server_url=config.base_url, space_id=None)
            destination = "server", str(settings.server_url)
        else:
            space = str(config.workspace or f"@{self.id.hex}")
            space = space if "/" in space else f"{space}/{SPACE}"
            settings = settings.updated(space_id=space, server_url=None)
            destination = "space", space
        if token:
            outlet.know_token(destination, token)
            settings = settings.updated(write_token=None)  # that of the environment is for another place
        return settings

    def get_step_run_metadata(self, info: Any) -> dict[str, Any]:
        """What was not attached at the beginning."""
        step = steps.find(info)
        with shield("ZenML: the URL of a step's run"):
            if step is not None and not step.is_published:
                return dict(step.metadata())
        return {}

    def cleanup_step_run(self, info: Any, step_failed: bool) -> None:
        """A step has returned, or failed. If its whole is watched, its outputs are still to be stored."""
        with shield("ZenML: a step's end"):
            if info.step_run_id in self._leave:
                self._leave.pop(info.step_run_id)()
            step = steps.find(info)
            if step is not None and not step.is_watched:
                step.end(sys.exc_info()[1] if step_failed else None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, flavor={self.flavor!r})"  # ZenML's shows the token


def _ourselves() -> str:
    """This distribution, as pip takes it: from a repository if it came from one."""
    distribution = importlib.metadata.distribution("trackio-autolog")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    version_control = origin.get("vcs_info")
    if version_control:
        return f"trackio-autolog @ {version_control['vcs']}+{origin['url']}@{version_control['commit_id']}"
    return f"trackio-autolog=={distribution.version}"
