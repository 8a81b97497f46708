"""Writes the results of an evaluation or a training to a run: metrics, long tables, pictures."""

from __future__ import annotations

import csv
import math
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autolog.capture.summary import worth_a_chart
from autolog.core.cells import brief, csv_cells
from autolog.core.recording import Recording
from autolog.sinks.trackio.names import artifact_name

if TYPE_CHECKING:
    from autolog.capture.evaluation import Evaluation

__all__ = ["not_told", "record_evaluation", "record_finals", "record_long_table", "record_pictures"]

CLOSE = 1e-5  # relative: XGBoost reckons with 32 bits
ROWS_SHOWN = 50  # of a long table: the dashboard shows tables whole, and above all pictures
PICTURES_SHOWN = 10  # of a table that has a row per picture: below it stand the pictures themselves


# The numbers of each run's model that were told last, with their step.
_told: weakref.WeakKeyDictionary[Recording, dict[str, tuple[int, float]]] = weakref.WeakKeyDictionary()


def record_finals(
    run: Recording, metrics: Mapping[str, float], *, step: int | None = None, of_all: bool = True
) -> int:
    """Numbers of a model as it is now. Two may tell of one: a library at the fit's end, an evaluation later.

    So that no key has two values at one step, a number that stands there already is not written again. One
    that says something else goes to the next step, unless ``step`` was given.

    Args:
        of_all: whether they are of all rows of their data. What is of some replaces nothing.

    Returns:
        The step that they stand at.
    """
    told = _told.setdefault(run, {})
    at = run.step_of_model if step is None else step
    standing = {key: told[key][1] for key in metrics if key in told and told[key][0] == at}
    new = {
        key: value
        for key, value in metrics.items()
        if key not in standing or (of_all and not _is_close(value, standing[key]))
    }
    if step is None and not standing.keys().isdisjoint(new):
        at = run.last_step + 1
    if new:
        charts = {key: new[key] for key in worth_a_chart(new, run.charted)}
        if charts:  # an empty row would be a step
            run.log(charts, step=at)
        run.log_once({key: value for key, value in new.items() if key not in charts}, step=at)
        told.update({key: (at, value) for key, value in new.items()})
    return at


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=CLOSE) or (math.isnan(one) and math.isnan(other))


def record_evaluation(run: Recording, name: str, result: Evaluation, *, step: int | None = None) -> None:
    """Metrics, tables and pictures of one evaluation, under the name of its data (``val``, ``test``)."""
    told = {key: value for key, (_, value) in _told.get(run, {}).items()}
    found = {
        f"{name}/{key}": value
        for key, value in result.metrics.items()
        if not _has_another_name(key, value, name, told)
    }
    step = record_finals(run, found, step=step)
    for note in result.notes:
        run.note(name, note)
    record_pictures(run, name, result, step=step)


# Names that frameworks and users have for what an evaluation of ours has, too.
_OTHER_NAMES = {
    "accuracy": ("acc", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"),
    "log_loss": ("loss", "logloss", "binary_logloss", "mlogloss", "multi_logloss", "multiclass"),
    "mae": ("mean_absolute_error", "loss", "l1"),
    "mse": ("mean_squared_error", "loss", "l2"),
    "rmse": ("root_mean_squared_error",),
    "roc_auc": ("auc", "auroc"),
}
_SAME = 1e-4  # how far apart the same number is, computed in batches and in single precision


def not_told(metrics: Mapping[str, float], place: str, told: Mapping[str, float]) -> dict[str, float]:
    """What an evaluation of ours has beside what the framework, or the user, has told of the same data.

    Args:
        metrics: ours, by their names.
        place: the name of the data.
        told: theirs, by their keys. One that is called like ours is ours, whatever its value; one that has
            another name for it, if it is the same number.
    """
    return {
        name: value
        for name, value in metrics.items()
        if f"{place}/{name}" not in told and not _has_another_name(name, value, place, told)
    }


def _has_another_name(name: str, value: float, place: str, told: Mapping[str, float]) -> bool:
    others = (told.get(f"{place}/{other}", math.nan) for other in _OTHER_NAMES.get(name, ()))
    return any(math.isclose(other, value, rel_tol=_SAME, abs_tol=1e-7) for other in others)


def record_pictures(run: Recording, name: str, result: Evaluation, *, step: int | None = None) -> None:
    """The tables and pictures of one evaluation."""
    # The dashboard shows the last first: what is longest stands below.
    for key, rows in sorted(result.tables.items(), key=lambda table: table[0] != "best_and_worst"):
        if key == "best_and_worst" and not run.keeps("predictions"):
            why = "not sent to the server: Settings.share does not name 'predictions'"
            run.note(f"{name}/best_and_worst", why)
            continue
        # Two things under one key would hide each other in the dashboard.
        shown = PICTURES_SHOWN if key == "per_picture" else None
        chart = result.charts.get(key)
        place = f"{name}/{key}{'_counts' if chart is not None else ''}"
        has_picture = chart is not None and len(chart.data.get("labels", [])) == len(rows)  # of each
        record_long_table(run, place, rows, shown=shown, step=step, has_picture=has_picture)
    for key, chart in reversed(result.charts.items()):  # likewise: what matters first is logged last
        run.figure(f"{name}/{key}", chart, step=step)


def record_long_table(
    run: Recording,
    key: str,
    rows: list[dict[str, Any]],
    *,
    shown: int | None = None,
    step: int | None = None,
    has_picture: bool = False,
) -> None:
    """A table whose first rows are shown, and the whole of which is kept in a file if there are more.

    Args:
        has_picture: a picture shows these rows, see :meth:`Recording.table`.
    """
    if not run.records:
        return
    shown = ROWS_SHOWN if shown is None else min(shown, ROWS_SHOWN)
    first = [{name: brief(value) for name, value in row.items()} for row in rows[:shown]]
    run.table(key, first, step=step, has_picture=has_picture)
    if len(rows) > shown:
        # Without their number: a table that grows says it once.
        run.note(key, f"the first {shown} rows; all are in the artifact {artifact_name(key)}")
        path = run.stage(f"{artifact_name(key)}.csv")
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            csv.writer(file).writerows(csv_cells(rows))
        run.staged_artifact(key, "table", {path.name: path}, {"rows": len(rows)})
