"""What a tracker can be told: when it is registered, and at a step."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import ConfigDict, Field, model_validator
from zenml.config.base_settings import BaseSettings
from zenml.experiment_trackers.base_experiment_tracker import BaseExperimentTrackerConfig
from zenml.utils.secret_utils import SecretField, is_secret_reference

from autolog.core.settings import check_project

__all__ = ["SPACE", "TrackioExperimentTrackerConfig", "TrackioExperimentTrackerSettings"]

SPACE = "trackio"  # of a workspace that names none; as transformers calls its own


class TrackioExperimentTrackerSettings(BaseSettings):  # type: ignore[misc]
    """What can be said at a step, at a pipeline, or by ``with_options``; as this class, or as a dict."""

    run_name: str | None = Field(
        default=None, description="Name of the run. None: made of pipeline run and step."
    )
    tags: list[str] = Field(
        default_factory=list,
        description="Tags of the run, beside the names of pipeline, pipeline run and step.",
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Values for the run's config, recorded as soon as it is open."
    )


class TrackioExperimentTrackerConfig(BaseExperimentTrackerConfig, TrackioExperimentTrackerSettings):  # type: ignore[misc]
    """What can be said when the tracker is registered; the settings of a step, as defaults, among it.

    Nothing of it: records stay on the machine that the step runs on, or go where Trackio's own environment
    variables say. ``base_url``, and ``api_key`` as its write token: a self-hosted Trackio server.
    ``workspace``, and ``api_key`` as the Hugging Face token: a Space of that user or organization.

    Raises:
        ValueError: attributes that do not go together, or a value that none can be.
    """

    # Pydantic shows what it was given in its errors: the token would be on the screen.
    model_config = ConfigDict(hide_input_in_errors=True)

    workspace: str | None = Field(
        default=None,
        description="Hugging Face user or organization whose Space 'trackio' takes the records; "
        "or 'user/space'.",
    )
    project: str | None = Field(default=None, description="Trackio project. None: the name of the pipeline.")
    api_key: str | None = SecretField(
        default=None,
        repr=False,
        description="Write token of the server at base_url, or Hugging Face token for the workspace. "
        "None: that of the environment where the step runs.",
    )
    base_url: str | None = Field(default=None, description="URL of a self-hosted Trackio server.")

    @model_validator(mode="after")
    def _goes_together(self) -> TrackioExperimentTrackerConfig:
        # As they were given: to read an attribute would ask ZenML's store for the secret.
        given = {
            name: self.__dict__[name]
            for name in ("workspace", "project", "api_key", "base_url")
            if self.__dict__[name]
        }
        if "workspace" in given and "base_url" in given:
            raise ValueError(
                "workspace (a Hugging Face Space) and base_url (a self-hosted server) are both set: "
                "records go to one place. Leave one of them out."
            )
        if "api_key" in given and not given.keys() & {"workspace", "base_url"}:
            raise ValueError(
                "api_key is set, and neither base_url nor workspace: a token is sent to nobody who was not "
                "named. Add base_url (a self-hosted Trackio server) or workspace (a Hugging Face user or "
                "organization), or leave api_key out to record on this machine."
            )
        for name, check in (
            ("base_url", check_url),
            ("workspace", check_workspace),
            ("project", check_project),
        ):
            if name in given and not is_secret_reference(given[name]):
                check(given[name])
        return self

    @property
    def is_local(self) -> bool:
        """Whether records stay on the machine."""
        return not (self.__dict__["base_url"] or self.__dict__["workspace"])


def check_url(url: str) -> None:
    """Refuse what is no server's URL, and a token in it: it would be stored in clear text."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(
            f"base_url={url.partition('?')[0]!r}: expected a URL such as https://trackio.example.org."
        )
    if "write_token" in parse_qs(parts.query) or parts.password:
        raise ValueError(
            "base_url holds a token, which ZenML would store and show. Give the URL without it, and the "
            "token as api_key, best by a secret: --api_key={{trackio_secret.api_key}}."
        )


def check_workspace(workspace: str) -> None:
    """Refuse what no Hugging Face user, organization or Space is called."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", workspace):
        raise ValueError(
            f"workspace={workspace!r}: expected a Hugging Face user or organization, or 'user/space'."
        )
