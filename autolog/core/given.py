"""What a user logs at a step: stored as ``trackio.log`` would store it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from typing import Any

from autolog.capture.params import label, metric
from autolog.core.cells import flatten
from autolog.core.recording import Recording
from autolog.process.interrupts import came_by_signal
from autolog.sinks.trackio.given import holds_media, media_files, stored_value

__all__ = ["log", "log_system", "log_with_tables"]

logger = logging.getLogger("autolog")

MOST_WARNINGS = 100  # of one run: whoever gives the values of each step names of their own has read enough


def log(run: Recording, metrics: Mapping[str, Any], step: int | None, strict: bool = False) -> None:
    """Record values at a step, see :meth:`autolog.Run.log`."""
    values: dict[str, Any] = {}
    others: list[str] = []
    flatten(metrics, "", values, others)
    if others:
        _log_others(run, values, others, step, strict)
    elif values or step is not None:
        run.write("row", step=run.step(step), values=values)
        run.latest.update(values)


def log_with_tables(run: Recording, metrics: Any, step: int | None, strict: bool = False) -> None:
    """The same; DataFrames and lists of mappings are tables."""
    items = metrics.items() if isinstance(metrics, Mapping) else ()
    tables = {key: value for key, value in items if _is_table(value)}
    if tables:
        metrics = {key: value for key, value in metrics.items() if key not in tables}
    log(run, metrics, step, strict)
    for key, value in tables.items():
        run.table(key, value, step=step)


def _is_table(value: Any) -> bool:
    is_frame = hasattr(value, "columns") and (hasattr(value, "to_dict") or hasattr(value, "to_dicts"))
    return bool(
        is_frame or (isinstance(value, list) and value and all(isinstance(r, Mapping) for r in value))
    )


def log_system(run: Recording, metrics: Mapping[str, Any]) -> None:
    """Record the machine's load as ``trackio.log_system`` would; what nobody takes is left out."""
    if not isinstance(metrics, Mapping):
        raise TypeError(f"log_system: expected a mapping of names to values, got {type(metrics).__name__}.")
    values: dict[str, Any] = {}
    for key, value in metrics.items():
        try:
            if not run.records:
                continue
            plain = _stored(run, value, run.last_step)
            values[label(key)] = stored_value(plain, project=run.project, run=run.name, step=0)
        except Exception as error:
            if came_by_signal(error):
                raise
            _leave_out(run, label(key), f"{_reason(value, error)}. {_instead(key, value)}")
    run.system(values)


def _log_others(
    run: Recording, values: dict[str, Any], others: list[str], step: int | None, strict: bool
) -> None:
    """Record a row in which some values are no plain numbers. What nobody takes is left out.

    Args:
        values: by name; changed to what is stored.
        others: the names of those that are no plain numbers.
        strict: whether a value that nobody takes is an error.

    Raises:
        TypeError: such a value, or a step that is no whole number.
        ValueError: a negative step.
    """
    at = run.step(step)
    if not run.records:
        return
    pages: dict[str, str] = {}
    refused: dict[str, str] = {}
    has_list = False
    for key in dict.fromkeys(others):
        value = values[key]
        try:
            page = _page(value)
            if page is not None:
                pages[key] = page
                del values[key]
                continue
            values[key] = _stored(run, value, at)
            has_list = has_list or isinstance(values[key], list)
        except Exception as error:
            if came_by_signal(error):  # the user's
                raise
            del values[key]
            refused[key] = f"{_reason(value, error)}. {_instead(key, value)}"
            if strict:
                raise TypeError(f"log: {key!r}: {refused[key]}") from error
    if values or not pages:
        # A list in a record is a table, unless the record says that its values are in Trackio's form.
        form = {"as_stored": True} if has_list else {}
        run.write("row", step=at, values=values, **form)
        run.latest.update({key: value for key, value in values.items() if isinstance(value, (int, float))})
    for key, page in pages.items():
        run.write("html", text=page, step=at, key=key, caption=None)
    if not run.is_local:
        for path in media_files([values[key] for key in others if key in values]):
            run.write("media", step=at, key=path.name, path=str(path))
    for key, why in refused.items():
        _leave_out(run, key, why)


def _page(value: Any) -> str | None:
    """A figure as a page; None: it is none."""
    if "matplotlib" not in sys.modules and "plotly" not in sys.modules:
        return None
    from autolog.capture.figures import is_figure, to_html

    return to_html(value) if is_figure(value) else None


def _stored(run: Recording, value: Any, at: int) -> Any:
    """A value as a row holds it.

    Raises:
        Exception: Trackio does not take it, whatever it says.
    """
    if type(value).__name__ not in ("bool", "bool_"):  # Python's and NumPy's: a truth is no 1 in Trackio
        with contextlib.suppress(TypeError):
            return metric(value)  # also tensors and arrays of one element, which Trackio leaves out
    return stored_value(value, project=run.project, run=run.name, step=at)


def _leave_out(run: Recording, key: str, why: str) -> None:
    """Say in the run that a value is missing, and tell the user, once for each name."""
    run.note(key, f"not recorded: {why}")
    if key not in run.left_out and len(run.left_out) < MOST_WARNINGS:
        run.left_out.add(key)
        logger.warning("autolog: %s of run %s is left out: %s", label(key, 100), run.name, why)


def _reason(value: Any, error: Exception) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    said = "it has no end" if isinstance(error, RecursionError) else label(error, 200).rstrip(".")
    return f"Trackio does not take this {name} ({said})"


def _instead(key: str, value: Any) -> str:
    """What to use for a value that nobody takes."""
    with contextlib.suppress(Exception):  # of a value with a will of its own
        return _by_kind(key, value) or _ANYTHING
    return _ANYTHING


_ANYTHING = "Log a number or a text (str(value)); files go into run.artifact, figures into run.figure."


def _by_kind(key: str, value: Any) -> str | None:
    if type(value).__module__.partition(".")[0] == "PIL":
        return "For a picture log trackio.Image(value)."
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return f"For a table write run.table({key!r}, value)."
    if hasattr(value, "tolist"):
        return "Log a number (value.mean()), value.tolist() or trackio.Histogram(value)."
    if isinstance(value, str):
        return 'Log value.encode(errors="replace").decode().'
    if holds_media(value):
        return "Log each of them under a name of its own."
    if type(value).__module__ == "trackio.table":
        return f"run.table({key!r}, ...) makes a text of each cell that is none."
    if isinstance(value, Mapping | list | tuple | set):
        return "Log numbers and texts, each under a name of its own."
    return None
