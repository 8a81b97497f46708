"""What a tracker can be told: when it is registered, and at a step."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from click import ClickException
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from zenml.config.base_settings import BaseSettings
from zenml.experiment_trackers.base_experiment_tracker import BaseExperimentTrackerConfig
from zenml.utils.secret_utils import SecretField, is_secret_reference

from autolog.core.settings import check_project

__all__ = [
    "FLAVOR",
    "SPACE",
    "ConfigurationError",
    "TrackioExperimentTrackerConfig",
    "TrackioExperimentTrackerSettings",
]

FLAVOR = "trackio-autolog"
SPACE = "trackio"  # of a workspace that names none; as transformers calls its own


class ConfigurationError(ClickException, ValueError):
    """A tracker or a step cannot be told this; at the command line a sentence, and no traceback."""


def _in_words(error: ValidationError) -> str:
    """What is wrong, without what was given: it may be a token."""
    wrong = []
    for one in error.errors(include_input=False, include_url=False):
        what = ".".join(map(str, one["loc"]))
        said = one["msg"].removeprefix("Value error, ")
        wrong.append(f"{what}: {said}" if what else said)
    return " ".join(wrong)


_registered: set[str] = set()  # what trackers can be registered with


class TrackioExperimentTrackerSettings(BaseSettings):  # type: ignore[misc]
    """What can be said at a step, at a pipeline, or by ``with_options``; as this class, or as a dict."""

    def __init__(self, **said: Any):
        try:
            super().__init__(**said)
        except ValidationError as error:  # ZenML would say that the settings cannot be converted, and not why
            raise ConfigurationError(_in_words(error)) from None

    project: str | None = Field(
        default=None, description="Trackio project. None: the tracker's, else the name of the pipeline."
    )
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

    @model_validator(mode="after")
    def _is_known(self) -> TrackioExperimentTrackerSettings:
        """A slip of the pen would be dropped. (ZenML adds what the tracker was registered with.)"""
        unknown = sorted((self.model_extra or {}).keys() - _registered)
        if unknown:
            known = ", ".join(TrackioExperimentTrackerSettings.model_fields)
            raise ValueError(f"{', '.join(unknown)}: not a setting of a step. There are {known}.")
        return self

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        _registered.update(cls.model_fields)

    @field_validator("project")
    @classmethod
    def _is_a_project(cls, name: str | None) -> str | None:
        if name and not is_secret_reference(name):
            check_project(name)
        return name


class TrackioExperimentTrackerConfig(BaseExperimentTrackerConfig, TrackioExperimentTrackerSettings):  # type: ignore[misc]
    """What can be said when the tracker is registered; the settings of a step, as defaults, among it.

    Nothing of it: records stay on the machine that the step runs on, or go where Trackio's own environment
    variables say. ``base_url``, and ``api_key`` as its write token: a self-hosted Trackio server.
    ``workspace``, and ``api_key`` as the Hugging Face token: a Space of that user or organization.
    ``api_key`` alone: a Space of the user whose token it is.

    Raises:
        ValueError: attributes that do not go together, or a value that none can be.
    """

    # Pydantic shows what it was given in its errors: the token would be on the screen. (Attributes that do
    # not exist are refused by ZenML at registration; what is stored is taken, for it may be an older one's.)
    model_config = ConfigDict(hide_input_in_errors=True, extra="ignore")

    workspace: str | None = Field(
        default=None,
        description="Hugging Face user or organization whose Space 'trackio' takes the records; "
        "or 'user/space'. None, with an api_key: the user whose token that is.",
    )
    api_key: str | None = SecretField(
        default=None,
        repr=False,
        description="Write token of the server at base_url, else a Hugging Face token. "
        "None: that of the environment where the step runs.",
    )
    base_url: str | None = Field(default=None, description="URL of a self-hosted Trackio server.")

    @model_validator(mode="after")
    def _goes_together(self) -> TrackioExperimentTrackerConfig:
        # As they were given: to read an attribute would ask ZenML's store for the secret.
        given = {name: self.__dict__[name] for name in ("workspace", "base_url") if self.__dict__[name]}
        if "workspace" in given and "base_url" in given:
            raise ValueError(
                "workspace (a Hugging Face Space) and base_url (a self-hosted server) are both set: "
                "records go to one place. Leave one of them out."
            )
        for name, check in (
            ("base_url", check_url),
            ("workspace", check_workspace),
        ):
            if name in given and not is_secret_reference(given[name]):
                check(given[name])
        return self

    @property
    def is_local(self) -> bool:
        """Whether records stay on the machine."""
        return not any(self.__dict__[name] for name in ("base_url", "workspace", "api_key"))


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
