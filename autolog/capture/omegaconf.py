"""Configurations of OmegaConf, and so of Hydra, as plain containers. Imports nothing of theirs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_CALL = re.compile(r"\$\{\s*[\w.]+\s*:")
_MARK = "$\u2060{"  # stands for a `${` that nothing is to follow


def is_config(value: Any) -> bool:
    """Whether this is one of OmegaConf's containers."""
    kind = type(value)
    return kind.__name__ in ("DictConfig", "ListConfig") and kind.__module__.startswith("omegaconf.")


def plain(config: Any) -> Any:
    """What a container of OmegaConf holds.

    References to other keys are followed, in a copy of the whole configuration. Resolvers
    (`${name:...}`) are not called: they are functions of the user's, which may draw a random number or
    fetch a secret. They stay as they are written, and so does what is missing (`???`) or leads nowhere.
    """
    omegaconf = sys.modules["omegaconf"].OmegaConf
    written = omegaconf.to_container(config)
    if "${" not in str(written):
        return written
    root, path = config, []
    while (parent := root._get_parent()) is not None:
        path.append(root._key())
        root = parent
    whole = _each_text(
        omegaconf.to_container(root),
        lambda text: text.replace("${", _MARK) if _CALL.search(text) else text,
    )
    copy = omegaconf.create(whole, flags={"allow_objects": True})
    for key in reversed(path):
        copy = copy[key]
    written = omegaconf.to_container(copy)
    _follow(copy, written, omegaconf)
    return _each_text(written, lambda text: text.replace(_MARK, "${"))


def _follow(config: Any, written: Any, omegaconf: Any) -> None:
    """Put what the references lead to in their place, each by itself: one may lead nowhere."""
    for key, value in list(written.items() if isinstance(written, dict) else enumerate(written)):
        if isinstance(value, (dict, list)):
            _follow(config[key], value, omegaconf)
        elif isinstance(value, str) and "${" in value:
            with suppress(Exception):
                found = config[key]
                written[key] = omegaconf.to_container(found, resolve=True) if is_config(found) else found


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Plain containers with each text in them changed."""
    if isinstance(value, dict):
        return {key: _each_text(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_each_text(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
