"""Words of other trackers: each error says what to write instead, and what it says to write is there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

import pytest

import autolog
from autolog.core import words


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("init", "autolog.enable() to record trainings, or `with autolog.run(name) as run:`"),
        ("autolog", "Write autolog.enable()."),
        ("log_params", "autolog.current_run().params({...})"),
    ],
)
def test_of_the_module(name: str, instead: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(instead)):
        getattr(autolog, name)
    assert not hasattr(autolog, name)


def test_a_name_that_nobody_has_is_said_to_be_missing() -> None:
    with pytest.raises(AttributeError, match=r"^module 'autolog' has no attribute 'nonsense'$"):
        _ = autolog.nonsense


def test_of_a_run(recording: autolog.MemorySink) -> None:
    with autolog.run("r") as run:
        with pytest.raises(AttributeError, match=re.escape("Write run.log({name: value}).")):
            run.log_metric("a", 1)  # type: ignore[attr-defined]
        assert not hasattr(run, "summary")
        assert not hasattr(run, "__array__")


@pytest.mark.parametrize(("given", "ours"), [("experiment_name", "project"), ("entity", "space_id")])
def test_of_settings(given: str, ours: str) -> None:
    with pytest.raises(autolog.SettingError, match=f"Did you mean '{ours}'"):
        autolog.enable(**{given: "x"})


def test_of_enable() -> None:
    with pytest.raises(autolog.FrameworkError, match=re.escape("project='my-project'")):
        autolog.enable("my-project")
    with pytest.raises(autolog.FrameworkError, match=re.escape("Write autolog.enable('sklearn').")):
        autolog.enable(["sklearn"])  # type: ignore[arg-type]


def calls(texts: Iterable[str], of: str) -> set[str]:
    return {name for text in texts for name in re.findall(rf"\b{re.escape(of)}\.(\w+)", text)}


def test_what_is_to_be_written_instead_is_there() -> None:
    texts = [*words._MODULE.values(), *words._RUN.values()]
    assert calls(texts, "autolog") - {"torch", "keras"} <= set(dir(autolog))
    assert calls(texts, "run") | calls(texts, "current_run()") <= set(dir(autolog.Run))
    assert set(words._SETTINGS.values()) <= {field.name for field in dataclasses.fields(autolog.Settings)}
    assert not set(words._MODULE) & set(autolog.__all__)
    assert not set(words._RUN) & set(dir(autolog.Run))
