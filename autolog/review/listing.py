"""Runs, listed: chosen, sorted, and shown as a table of what tells them apart."""

from __future__ import annotations

import html
import math
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

from autolog.capture.summary import is_better_small
from autolog.review.archive import Archive, opened
from autolog.review.collector import held_back
from autolog.review.conditions import ConditionError, parsed, unknown
from autolog.review.recorded import PROPERTIES, RecordedRun
from autolog.review.source import SourceError
from autolog.review.values import age_of, duration_of, told

__all__ = ["Runs", "chosen", "label", "of_project", "runs"]

MOST_COLUMNS = 6  # of what was set


def runs(
    project: str | None = None,
    *,
    where: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    at: str | os.PathLike[str] | None = None,
) -> Runs:
    """The runs that were recorded, the newest first.

    >>> autolog.runs("churn", where="val/roc_auc > 0.8 and 'nightly' in tags", sort="val/roc_auc")[0]

    Args:
        project: None: all projects.
        where: a condition on each run: keys of docs/keys.md (``val/accuracy``, ``params/lr``), or
            ``status``, ``name``, ``tags``, ``group``, ``seconds``, ``project``; compared by
            ``== != > >= < <= in``, joined by ``and``, ``or``, ``not`` and brackets. A key with other
            characters stands between backticks.
        sort: a key; a metric's best first (the smallest loss, the largest accuracy), others by their size.
            With a ``-`` before it the other way round. Runs that lack it come last.
        limit: the first so many.
        at: a directory of Trackio's, a server's URL, or a Space as ``user/space``. None: where this process
            would record.

    Warns:
        UserWarning: one of all projects cannot be read; the others are listed.

    Raises:
        ConditionError: ``where`` or ``sort`` is not understood.
        SourceError: nothing can be read from there.
        ValueError: ``limit`` is no positive number.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit={limit!r}: expected a whole number from 1 on, or None for all.")
    archive = opened(at)
    found: list[RecordedRun] = []
    with held_back():
        names = archive.projects() if project is None else [project]
        unread: list[SourceError] = []
        for name in names:
            try:
                found += of_project(archive, name)
            except SourceError as error:
                unread.append(error)
        if unread and len(unread) == len(names):
            raise unread[0]
        for one in unread:
            warnings.warn(str(one), stacklevel=2)
    found.sort(key=lambda run: -run.started)
    finder = _Finder(archive, found)
    if where is not None:
        condition = parsed(where)
        finder.check(condition.names)
        found = [run for run in found if condition.holds(finder.of(run))]
    if sort is not None:
        found = finder.sorted(found, sort)
    return Runs(found[:limit], archive.source.where)


def of_project(archive: Archive, project: str) -> list[RecordedRun]:
    """All runs of a project, the oldest first."""
    siblings: dict[str, RecordedRun] = {}
    for head in archive.heads(project).values():
        siblings[head.id] = RecordedRun(archive, head, siblings)
    return list(siblings.values())


def chosen(run_or_runs: RecordedRun | str | Iterable[RecordedRun], to: str) -> list[RecordedRun]:
    """The runs that somebody has given to ``autolog.report`` or another function.

    Raises:
        TypeError: something else than runs that were read back.
        ValueError: no run at all.
        LookupError: there is no run of this name.
    """
    if isinstance(run_or_runs, str):
        return [runs().get(run_or_runs)]
    several = [run_or_runs] if isinstance(run_or_runs, RecordedRun) else list(run_or_runs)
    for run in several:
        if not isinstance(run, RecordedRun):
            raise TypeError(
                f"{to}: {run!r} is no run that was read back. "
                f"Write autolog.{to}(autolog.runs(project)[0], path)."
            )
    if not several:
        raise ValueError(f"{to}: no run was given")
    return several


class _Finder:
    """Finds what a key says of each run. A metric is asked of the source for all of them at once."""

    def __init__(self, archive: Archive, among: Sequence[RecordedRun]):
        self._archive = archive
        self._projects = sorted({run.project for run in among})
        self._among = among
        self._metrics: dict[str, dict[str, Any]] = {}

    def of(self, run: RecordedRun) -> Callable[[str], Any]:
        return lambda key: self.value(run, key)

    def value(self, run: RecordedRun, key: str) -> Any:
        said = run.said(key)
        return self.metric(key).get(run.id) if said is None and _may_be_a_metric(key) else said

    def metric(self, key: str) -> dict[str, Any]:
        if key not in self._metrics:
            found: dict[str, Any] = {}
            for project in self._projects:
                found |= self._archive.latest(project, key)
            self._metrics[key] = found
        return self._metrics[key]

    def check(self, names: Iterable[str]) -> None:
        """Refuse a key that no run has: it is a slip of the pen."""
        wanting = [n for n in names if not any(self.value(run, n) is not None for run in self._among)]
        wanting = [name for name in wanting if name not in PROPERTIES]
        if wanting and self._among:
            raise ConditionError(unknown(wanting, self.known()) or "")

    def known(self) -> set[str]:
        known = set(PROPERTIES)
        for run in self._among[:200]:
            known |= {*run.config, *run.result, *run.once, *(f"params/{name}" for name in run.params)}
        for run in self._among[:3]:  # their rows are read
            known |= set(run.metrics)
        return known

    def sorted(self, found: list[RecordedRun], sort: str) -> list[RecordedRun]:
        key = sort.removeprefix("-")
        self.check([key])
        values = {run.id: self.value(run, key) for run in found}
        places = {run: place for run, value in values.items() if (place := _sortable(value)) is not None}
        having = [run for run in found if run.id in places]
        is_metric = bool(self._metrics.get(key)) or any(key in run.once for run in found)
        largest_first = is_metric and not is_better_small(key)
        having.sort(key=lambda run: places[run.id], reverse=largest_first != sort.startswith("-"))
        return having + [run for run in found if run.id not in places]


def _may_be_a_metric(key: str) -> bool:
    return key not in PROPERTIES and not key.startswith("params/")


def _sortable(value: Any) -> tuple[bool, Any] | None:
    if isinstance(value, (int, float)):
        return None if math.isnan(value) else (False, value)
    if value is None:
        return None
    return True, str(value)


class Runs(Sequence[RecordedRun]):
    """A list of recorded runs. Printed, it is a table of what tells them apart.

    Attributes:
        where: the place that they were read from.
    """

    def __init__(self, of: Iterable[RecordedRun], where: str):
        self._runs = list(of)
        self.where = where
        self._metrics: dict[str, dict[str, Any]] = {}  # the last values of those that were asked for

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, place: int) -> RecordedRun: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: int | slice) -> RecordedRun | Runs:
        if isinstance(place, slice):
            return Runs(self._runs[place], self.where)
        return self._runs[place]

    def __iter__(self) -> Iterator[RecordedRun]:
        return iter(self._runs)

    def get(self, name: str) -> RecordedRun:
        """One of them.

        Args:
            name: the beginning of its id, its name, the id at its name's end (``4027``), ``last``, ``best``,
                ``best2`` for the second best, or ``@1`` for the first, ``@2`` for the second of this list.
                One that is below another one of the list, a fold or a trial, is neither best nor last.

        Raises:
            LookupError: there is none, or there are several; the text names those that are near.
        """
        return found(self, name)

    @property
    def best(self) -> RecordedRun:
        """The best of them, by the first number of the result that most of them have.

        Raises:
            LookupError: none has a result.
        """
        return self._ranked(1)

    def _ranked(self, place: int) -> RecordedRun:
        key = self.main_metric
        having = [run for run in self.at_top() if not math.isnan(run.result.get(key or "", math.nan))]
        if key is None or not having:
            raise LookupError("none of these runs has a result by which one is the best")
        having.sort(key=lambda run: run.result[key], reverse=not is_better_small(key))
        if not 1 <= place <= len(having):
            raise LookupError(f"'best{place}': {len(having)} of these runs have a result {key}.")
        return having[place - 1]

    def at_top(self) -> Runs:
        """Those that are not below another one of them: no trials, no folds."""
        ids = {run.id for run in self}
        top = [run for run in self if run.parent_id not in ids]
        return Runs(top, self.where) if top else self  # a circle, which somebody has written

    @property
    def main_metric(self) -> str | None:
        """The number that most of them are about; None: they have no result."""
        first = [next(iter(run.result)) for run in self if run.result]
        return max(first, key=first.count) if first else None

    # As a table -------------------------------------------------------------------------------------

    def columns(self) -> list[str]:
        """What a table of them shows: status, results, what was set and differs, duration, age, tags."""
        results = [key for key, _ in Counter(key for run in self for key in run.result).most_common(3)]
        columns = ["name", "status", *results, *self.differing()[:MOST_COLUMNS], "seconds", "age"]
        if len({run.project for run in self}) > 1:
            columns.insert(0, "project")
        return [*columns, "tags"] if any(run.tags for run in self) else columns

    def differing(self) -> list[str]:
        """The keys of what a person set and what is not the same in all of them, the frequent ones first."""
        told_by: dict[str, list[str]] = {}
        for run in self:
            for name, value in run.params_set.items():
                told_by.setdefault(f"params/{name}", []).append(told(value))
        several = {k: v for k, v in told_by.items() if len(set(v)) > 1 or 0 < len(v) < len(self)}
        return sorted(several, key=lambda key: -len(several[key])) if len(self) > 1 else []

    def row(self, run: RecordedRun, columns: Iterable[str]) -> list[Any]:
        """What stands in a table's row of one of them: values, None for what it lacks."""
        row: list[Any] = []
        for column in columns:
            if column == "age":
                row.append(time.time() - run.started if run.started else None)
            elif column in run.result:
                row.append(run.result[column])
            else:
                said = run.said(column)
                is_row = said is None and _may_be_a_metric(column)
                row.append(self._latest(column).get(run.id) if is_row else said)
        return row

    def _latest(self, column: str) -> dict[str, Any]:
        """A metric's last value in each run: asked for all at once, and not at all if it is of the results.

        Whoever lacks it there has none: of a run that failed, say, no rows need be read for a table.
        """
        if column not in self._metrics:
            is_result = any(column in run.result for run in self)
            places = {} if is_result else {(run.archive, run.project): None for run in self}
            found = [archive.latest(project, column) for archive, project in places]
            self._metrics[column] = {run: value for of in found for run, value in of.items()}
        return self._metrics[column]

    def texts(self, columns: Sequence[str] | None = None) -> list[list[str]]:
        """The rows of a table as a person reads them."""
        columns = columns or self.columns()
        return [
            [_cell(column, value) for column, value in zip(columns, self.row(run, columns), strict=True)]
            for run in self
        ]

    def __repr__(self) -> str:
        if not self._runs:
            return f"No runs in {self.where}."
        columns = self.columns()
        rows = [[label(column) for column in columns], *self.texts(columns)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
        cells = [[f"{c:<{w}}" for c, w in zip(row, widths, strict=True)] for row in rows]
        return "\n".join("  ".join(row).rstrip() for row in cells)

    def _repr_html_(self) -> str:
        if not self._runs:
            return f"<p>No runs in {html.escape(self.where)}.</p>"
        columns = self.columns()
        head = "".join(f"<th>{html.escape(label(column))}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.texts(columns)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_records(self) -> list[dict[str, Any]]:
        """A mapping for each: who it is, its result, and what was set."""
        return [
            {
                **{key: getattr(run, key) for key in PROPERTIES},
                **run.result,
                **{f"params/{k}": v for k, v in run.params_set.items()},
            }
            for run in self
        ]

    def to_pandas(self) -> Any:
        """A DataFrame of :meth:`to_records`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("runs.to_pandas() needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.to_records())

    def to_polars(self) -> Any:
        """A DataFrame of :meth:`to_records`.

        Raises:
            ImportError: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise ImportError("runs.to_polars() needs polars: pip install polars") from error
        rows = [{k: v if _is_plain(v) else told(v) for k, v in row.items()} for row in self.to_records()]
        return polars.from_dicts(rows, infer_schema_length=None, strict=False)


def found(among: Runs, name: str) -> RecordedRun:
    """The run of a list that a person means, see :meth:`Runs.get`."""
    if not len(among):
        raise LookupError(f"{name!r}: there are no runs.")
    if name == "last":
        return max(among.at_top(), key=lambda run: run.started)
    if (rank := re.fullmatch(r"best(\d*)", name)) and name not in {run.name for run in among}:
        return among._ranked(int(rank[1] or 1))
    if name.startswith("@") and name[1:].isdecimal():
        place = int(name[1:])
        if not 1 <= place <= len(among):
            raise LookupError(f"{name!r}: there are {len(among)} runs, @1 to @{len(among)}.")
        return among[place - 1]
    same = [run for run in among if name in (run.id, run.name)]
    near = same or [run for run in among if run.id.startswith(name) or run.name.endswith(f"·{name}")]
    near = near or [run for run in among if name.lower() in run.name.lower()]
    if len(near) > 1 and len(top := [run for run in near if run.parent is None]) == 1:
        near = top  # its trials and folds are called after it
    if len(near) == 1:
        return near[0]
    if not near:
        names = ", ".join(told(run.name) for run in among[:5])
        raise LookupError(f"{name!r} is no run's id or name. The newest are: {names}.")
    ids = ", ".join(f"{run.id[:8]} ({told(run.name)})" for run in near[:5])
    raise LookupError(f"{name!r} is {len(near)} runs: say which by its id: {ids}.")


def label(column: str) -> str:
    """A column's head: a parameter by its own name."""
    if column == "seconds":
        return "duration"
    return column.removeprefix("params/")


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "age":
        return age_of(value)
    if column == "started":
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(value))
    if column == "seconds":
        return duration_of(value)
    if column == "tags":
        return ", ".join(value)
    return told(value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
