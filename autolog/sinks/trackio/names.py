"""Trackio's rules for names: projects, runs, metrics, config keys, artifacts. Imports nothing of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from autolog.capture.params import label

__all__ = [
    "artifact_name",
    "canonical_project",
    "check_project",
    "fitting_project",
    "known_metric_keys",
    "metric_key",
    "plain_run_name",
    "split_token",
    "without_underscores",
]

# Trackio keeps these names for itself and renames such metrics the same way (trackio/run.py, Run.log).
_RESERVED_METRICS = {"project", "run", "timestamp", "step", "time", "metrics"}


def check_project(name: str) -> None:
    """Refuse what Trackio would refuse, before anything is recorded under it.

    The rules are those of ``SQLiteStorage.validate_project_name`` (trackio/sqlite_storage.py), written
    out here since importing Trackio for them would cost half a second at the user's first line.

    Raises:
        ValueError: a name that Trackio keeps for itself.
    """
    plain = canonical_project(name)
    if plain.startswith("registry-"):
        raise ValueError(
            f"project={name!r}: names that begin with 'registry-' belong to Trackio's registries. "
            "Choose another one."
        )
    if (size := len(plain.encode("utf-8", "replace"))) > 200:
        raise ValueError(
            f"project={name[:40]!r}... has {size} bytes; expected 200 at most, since Trackio names a file "
            "after it. Choose a shorter one."
        )
    for suffix in RESERVED_PROJECT_SUFFIXES:
        if len(plain) > len(suffix) and plain.endswith(suffix):
            raise ValueError(
                f"project={name!r}: Trackio keeps files of its own under names that end with {suffix!r}. "
                "Choose another one."
            )


def canonical_project(name: str) -> str:
    """What a project's files are named after (``canonical_project_name`` in trackio/utils.py)."""
    return "".join(c for c in name if c.isalnum() or c in "-_").rstrip() or "default"


RESERVED_PROJECT_SUFFIXES = (
    "_system",
    "_configs",
    "_traces",
    "_artifacts",
    "_artifact_versions",
    "_artifact_aliases",
    "_run_artifact_links",
    "_external_run_artifact_links",
)


def fitting_project(name: str) -> str:
    """This name, made into one that Trackio takes for a project."""
    try:
        check_project(name)
    except ValueError:
        return f"project-{name}".rstrip("_") + "-"
    return name


def plain_run_name(name: str) -> str:
    """A run's name as a folder of Trackio's media can bear it: no separators, no dots in front.

    Trackio decodes the path of a file once more than a browser encodes it, so ``%2e`` would be a dot.
    """
    plain = re.sub(r"[\x00-\x1f\x7f/\\]+|%(?=[0-9A-Fa-f]{2})", "-", label(name).strip()).lstrip(".")
    return plain.encode()[:200].decode(errors="ignore").strip() or "run"


def without_underscores(config: Mapping[str, Any]) -> dict[str, Any]:
    """Trackio keeps config keys that begin with ``_`` for itself."""
    return {key.lstrip("_") or "value": value for key, value in config.items()}


known_metric_keys: dict[Any, str] = {}
"""Names of metrics as they were given, and as Trackio takes them."""


def metric_key(key: Any) -> str:
    """A metric's name as Trackio takes it; the same few names come at every step, so they are kept."""
    known = known_metric_keys.get(key) if isinstance(key, str) else None
    if known is None:
        known = _clean_key(label(key))
        if isinstance(key, str) and len(known_metric_keys) < 10_000:
            known_metric_keys[key] = known
    return known


def _clean_key(key: str) -> str:
    key = key if key.strip() else "unnamed"
    return f"__{key}" if key in _RESERVED_METRICS or key.startswith("__") else key


def artifact_name(name: str) -> str:
    """An artifact's name as Trackio takes it: letters, digits, ``.``, ``_``, ``-``; no version's name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", label(name)).strip("-")[:120] or "artifact"
    return f"{plain}-" if re.fullmatch(r"v\d+", plain) else plain


def split_token(url: str) -> tuple[str, str | None]:
    """A server's URL without its ``write_token``, and that token.

    Raises:
        ValueError: it is no URL.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError as error:
        raise ValueError(
            f"server_url={url!r}: {error}. Expected a URL such as https://trackio.example.org."
        ) from None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    token = next((value for name, value in pairs if name == "write_token"), None)
    query = urlencode([pair for pair in pairs if pair[0] != "write_token"])
    return urlunsplit(parts._replace(query=query)).rstrip("/"), token
