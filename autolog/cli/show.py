"""``autolog show RUN``: a run's report in the terminal."""

from __future__ import annotations

import shlex
import tempfile
import time
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from autolog.cli.common import (
    AsJson,
    At,
    Project,
    RunName,
    console,
    line_of,
    one,
    print_json,
    print_table,
    text,
)
from autolog.review.export.document import as_document
from autolog.review.listing import Runs, label
from autolog.review.recorded import RecordedRun
from autolog.review.report import report
from autolog.review.report.plot import sparkline
from autolog.review.report.story import Story, story_of
from autolog.review.source import dashboard
from autolog.review.values import ago, bytes_of, duration_of, told

__all__ = ["show"]

STYLES = {"finished": "green", "running": "cyan"}


def show(
    name: RunName,
    code: Annotated[bool, typer.Option("--code", help="The code that ran.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="How the code differs from the run before.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Why it failed, whole.")] = False,
    config: Annotated[bool, typer.Option("--config", help="All that was recorded beside rows.")] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="The dashboard's page, if one is running; else the report.")
    ] = False,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show a run: its result beside the others', curves, what was set, what it kept.

    \b
    autolog show best --project sweep
    autolog show last --traceback
    """
    run = one(name, project, at)
    if as_json:
        print_json(as_document(run))
    elif code:
        for file, lines in run.code().items():
            console.print(text(f"# {file}", "bold"))
            console.print(text(lines))
    elif traceback:
        console.print(text(run.error or f"{run.name} has not failed."))
    elif config:
        print_json(run.config)
    elif open_:
        page, is_dashboard = _opened(run)
        console.print(text(page))
        if not is_dashboard and run.destination[0] == "local":
            console.print(text(f"The dashboard, with what counts first: {_dashboard_command(run)}", "dim"))
    else:
        story = story_of(run, run.siblings)
        if diff:
            lines = "\n".join(story.diff) or "The code is the same, or was not kept."
            console.print(text(lines))
        else:
            _show(story)


def _show(story: Story) -> None:
    run = story.run
    head = line_of(run.name, "bold")
    head.append("  ")
    head.append_text(line_of(run.status or "no status", STYLES.get(run.status or "", "red")))
    took = duration_of(run.seconds) if run.seconds is not None else ""
    for said in (
        took,
        ago(time.time() - run.started) if run.started else "",
        f"project {run.project}",
    ):
        head.append_text(line_of(f" · {said}" if said else "", "dim"))
    console.print(head)
    console.print(line_of(story.sentence))
    if story.failure is not None:
        console.print(text(story.failure.error, "red"))
        if story.failure.place:
            console.print(line_of(f"  {story.failure.place}"))
            console.print(line_of(f"    {story.failure.line or ''}", "bold"))
        console.print(text("  all of it: --traceback", "dim"))
    _rows("result", ((key, told(value)) for key, value in run.result.items()))
    if story.verdict:
        console.print(line_of(story.verdict))
    _rows("set", ((key, told(value)) for key, value in run.params_set.items()))
    best = run.config.get("best/params")
    if isinstance(best, dict):
        _rows("best", ((key, told(value)) for key, value in best.items()))
    _rows("curves", _curves(story))
    if story.leaders:
        runs = Runs(story.leaders[:10], "")
        columns = [c for c in runs.columns() if c not in ("age", "status", "tags", "project")]
        console.print(text(f"the best {len(runs)} of {story.below} below it", "bold"))
        rows = [[text(cell) for cell in row] for row in runs.texts(columns)]
        print_table([label(c) for c in columns], rows)
    changed = [d for d in story.changed if d.section not in ("result", "cost")]
    if story.before is not None and changed:
        console.print(line_of(f"against {story.before.name}", "bold"))
        rows = [
            [text(d.section, "dim"), text(d.key), *(text(_of(v)) for v in d.values)] for d in changed[:12]
        ]
        print_table(["", "", "before", "here"], rows)
    _rows("data", story.data)
    _rows("from", story.origin)
    _rows("cost", story.cost)
    _rows("kept", ((a.name, f"{a.type}, {bytes_of(a.size)}") for a in run.artifacts if not a.is_input))
    _rows("notes", run.notes.items())
    _rows("words", (("", words) for words in [*run.words, *run.reports]))
    if story.loading:
        _rows("load", [("", story.loading)])


def _rows(title: str, rows: Iterable[tuple[str, str]]) -> None:
    shown = [
        [text(title if n == 0 else "", "bold"), text(key), text(value)] for n, (key, value) in enumerate(rows)
    ]
    if shown:
        print_table(["", "", ""], shown, head=False)


def _curves(story: Story) -> Iterable[tuple[str, str]]:
    for of in story.curves:
        for name, series in of.series:
            key = name if name == of.title else f"{name}/{of.title}"
            yield key, f"{sparkline(series.values)}  {told(series.values[0])} → {told(series.last)}"


def _of(value: Any) -> str:
    return "-" if value is None else told(value)


def _opened(run: RecordedRun) -> tuple[str, bool]:
    """Open where a person sees it; returns what was opened, and whether it is a dashboard's page."""
    base = run.place if run.destination[0] == "server" else None
    if run.destination[0] == "local":
        base = dashboard(Path(run.place))
    if base is not None:
        asked = urlencode({"project": run.project, "selected_run_id": run.id, "selected_run": run.name})
        page = f"{base}/run?{asked}"
    else:
        folder = Path(tempfile.mkdtemp(prefix="autolog-"))
        page = report(run, folder / "report.html").as_uri()
    webbrowser.open(page)
    return page, base is not None


def _dashboard_command(run: RecordedRun) -> str:
    """What starts Trackio's dashboard with the charts in this order; a running one keeps its own."""
    order = ",".join([*list(run.result)[:1], "val/*", "test/*", "train/*"])
    return f"TRACKIO_PLOT_ORDER={shlex.quote(order)} trackio show --project {shlex.quote(run.project)}"
