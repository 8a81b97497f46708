"""The report as one page of HTML that stands by itself: no script, nothing fetched; light, dark, on paper."""

from __future__ import annotations

import base64
import html
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autolog.review.differing import SECTIONS, Difference, differences
from autolog.review.listing import Runs, label
from autolog.review.recorded import RecordedRun
from autolog.review.report.plot import lines
from autolog.review.report.story import Story, curves_of
from autolog.review.source import SourceError
from autolog.review.values import duration_of, told

__all__ = ["comparison_page", "run_page"]

MOST_PICTURES = 6
MOST_ROWS = 30
LARGEST_PICTURE = 600_000  # bytes

_STYLE = """
:root { color-scheme: light dark; --text: #1c2126; --quiet: #5c6670; --line: #d9dee3; --back: #ffffff;
  --card: #f5f7f9; --good: #12733b; --bad: #b3261e; --c0: #1f6feb; --c1: #d9730d; --c2: #12733b;
  --c3: #8250df; --c4: #b3261e; --c5: #0b7a75; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --quiet: #98a2ac; --line: #343b42;
  --back: #14181c; --card: #1d2329; --good: #5fd38d; --bad: #ff8a80; --c0: #6ea8fe; --c1: #f0a45d;
  --c2: #5fd38d; --c3: #c297ff; --c4: #ff8a80; --c5: #5ad1c8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 60px; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 34px 0 8px; }
p { margin: 6px 0; } a { color: var(--c0); }
.quiet { color: var(--quiet); } .good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.status { display: inline-block; border: 1px solid currentColor; border-radius: 4px; padding: 0 7px;
  font-size: 13px; vertical-align: 3px; margin-left: 8px; }
.numbers { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0 6px; }
.number { background: var(--card); border-radius: 8px; padding: 10px 16px; min-width: 130px; }
.number b { display: block; font-size: 25px; line-height: 1.2; }
.number span { color: var(--quiet); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 18px; }
figure { margin: 0; } figcaption { font-size: 13px; color: var(--quiet); margin-bottom: 4px; }
figure img { width: 100%; background: #fff; border-radius: 6px; }
svg { width: 100%; height: auto; font-size: 11px; } svg text { fill: var(--quiet); }
svg .grid { stroke: var(--line); } polyline { fill: none; stroke-width: 1.7; }
.legend { font-size: 13px; } .key { margin-right: 14px; white-space: nowrap; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; }
COLOURS
.beside { display: flex; flex-wrap: wrap; gap: 6px 60px; align-items: flex-start; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; white-space: nowrap; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.this td { font-weight: 600; } table.matrix td { text-align: right; padding: 3px 9px; }
pre { background: var(--card); border-radius: 8px; padding: 10px 14px; overflow-x: auto; font-size: 13px;
  line-height: 1.45; margin: 6px 0; }
pre .plus { color: var(--good); } pre .minus { color: var(--bad); }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--quiet); }
blockquote { border-left: 3px solid var(--c0); margin: 10px 0; padding: 2px 12px; }
@media print { body { max-width: none; padding: 0; } details > * { display: block; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } }
""".replace(
    "COLOURS",
    "\n".join(f".s{n} {{ stroke: var(--c{n}); }} .b{n} {{ background: var(--c{n}); }}" for n in range(6)),
)


def run_page(story: Story) -> str:
    """The report of one run."""
    run = story.run
    parts = [_head(story)]
    if story.failure is not None:
        parts.append(_failure(story))
    parts += [
        _words(run),
        _leaders(story),
        _candidates(run),
        _others(story),
        _curves(story),
        _held_out(story),
        _changed(story),
    ]
    parts += [_section("Data", _pairs(story.data)), _settings(run)]
    parts += [
        _section("Where it comes from", _pairs(story.origin)),
        _section("What it cost", _pairs(story.cost)),
    ]
    parts += [_left_out(run), _again(story)]
    return _whole(f"{run.name} · {run.project}", "".join(parts))


def comparison_page(runs: Sequence[RecordedRun]) -> str:
    """Several runs side by side: only what differs."""
    found = differences(runs)
    names = [run.name for run in runs]
    parts = [f"<h1>{len(runs)} runs compared</h1>"]
    project = ", ".join(sorted({run.project for run in runs}))
    parts.append(f'<p class="quiet">{_e(project)} · only what differs is shown</p>')
    result = [d for d in found if d.section == "result"]
    if result:
        parts.append(_section("Result", _differing(result, names)))
    curves = _overlaid(runs)
    if curves:
        parts.append(_section("Curves", f'<div class="charts">{curves}</div>'))
    for section in SECTIONS[1:]:
        rows = [d for d in found if d.section == section]
        if rows:
            parts.append(_section(section.capitalize(), _differing(rows, names)))
    return _whole(f"{len(runs)} runs of {project}", "".join(parts))


# The first screen: is it better, why, can I trust it -------------------------------------------------


def _head(story: Story) -> str:
    run = story.run
    status = run.status or "no status"
    style = "good" if status == "finished" else "quiet" if status == "running" else "bad"
    began = time.strftime("%d %B %Y, %H:%M", time.localtime(run.started)) if run.started else ""
    took = f"took {duration_of(run.seconds)}" if run.seconds is not None else ""
    told_when = " · ".join(
        part for part in (f"project {run.project}", began, took, ", ".join(run.tags)) if part
    )
    numbers = "".join(
        f'<div class="number"><b>{_e(told(value))}</b><span>{_e(key)}</span></div>'
        for key, value in run.result.items()
    )
    verdict = f"<p><b>{_e(story.verdict)}</b></p>" if story.verdict else ""
    best = run.config.get("best/params")
    if isinstance(best, dict) and best:
        chosen = ", ".join(f"{key} {told(value)}" for key, value in best.items())
        verdict += f"<p>The best has {_e(chosen)}.</p>"
    why = _why(story)
    return (
        f'<h1>{_e(run.name)}<span class="status {style}">{_e(status)}</span></h1>'
        f"<p>{_e(story.sentence)}</p><p class='quiet'>{_e(told_when)}</p>"
        f'<div class="numbers">{numbers}</div>{verdict}{why}'
    )


def _why(story: Story) -> str:
    """What was changed since the run before, and what keeps the two from being compared."""
    if story.before is None:
        return ""
    set_otherwise = [d for d in story.changed if d.section == "parameters"][:6]
    words = [f"{d.key} from {told(d.values[0])} to {told(d.values[1])}" for d in set_otherwise]
    said = f"Against {_e(story.before.name)}: {_e(', '.join(words)) if words else 'no parameter differs'}."
    warned = [
        text
        for section, text in (("data", "the data"), ("packages", "packages"), ("machine", "the machine"))
        if any(d.section == section for d in story.changed)
    ]
    warned += ["the code"] if story.diff else []
    trust = f' <span class="bad">Not alone: {", ".join(warned)} differed, too.</span>' if warned else ""
    return f"<p>{said}{trust}</p>"


def _failure(story: Story) -> str:
    failure = story.failure
    assert failure is not None
    line = f"<pre>{_e(failure.line)}</pre>" if failure.line else ""
    place = f"<p>In your code: {_e(failure.place)}</p>" if failure.place else ""
    return (
        f'<h2>Why it failed</h2><p class="bad">{_e(failure.error)}</p>{place}{line}'
        f"<details><summary>The whole traceback</summary><pre>{_e(failure.traceback)}</pre></details>"
    )


def _words(run: RecordedRun) -> str:
    said = [*run.words, *run.reports]
    return "".join(f"<blockquote>{_paragraphs(text)}</blockquote>" for text in said)


# What it is beside others ----------------------------------------------------------------------------


def _leaders(story: Story) -> str:
    if not story.leaders:
        return ""
    runs = Runs(story.leaders, "")
    columns = [c for c in runs.columns() if c not in ("age", "status", "tags", "project")]
    note = f"<p class='quiet'>The best {len(runs)} of {story.below}.</p>" if story.below > len(runs) else ""
    return _section("The best below it", note + _table([label(c) for c in columns], runs.texts(columns)))


# What is a leaderboard without runs below it, by the names of docs/keys.md.
_TABLES = {"search/cv_results": "The candidates, the best first", "cv/folds": "The folds"}


def _candidates(run: RecordedRun) -> str:
    found = ""
    for key, title in _TABLES.items():
        rows = [
            {
                name: value
                for name, value in row.items()
                if not name.startswith("split") and "_time" not in name
            }
            for row in run.tables.get(key, [])
        ]
        found += _section(title, _rows_table(rows))
    return found


def _others(story: Story) -> str:
    if not story.others:
        return ""
    shown = [story.run, *story.others]
    if story.best is not None and story.best not in shown:
        shown.append(story.best)
    runs = Runs(shown, "")
    columns = [c for c in runs.columns() if c not in ("status", "tags", "project", "age")] + ["started"]
    rows = runs.texts(columns)
    marks = {0: "this"}
    return _section("Beside the runs before it", _table([label(c) for c in columns], rows, marks))


def _changed(story: Story) -> str:
    if story.before is None:
        return ""
    rows = [d for d in story.changed if d.section not in ("result", "cost")]
    if not rows and not story.diff:
        return _section(
            "Against the run before", f"<p>Nothing but its result differs from {_e(story.before.name)}.</p>"
        )
    body = _differing(rows, [story.before.name, "this run"], by_section=True) if rows else ""
    if story.diff:
        body += f"<details><summary>How the code differs</summary>{_diff(story.diff)}</details>"
    return _section("Against the run before", body)


# What was measured -----------------------------------------------------------------------------------


def _curves(story: Story) -> str:
    drawn = "".join(
        f"<figure><figcaption>{_e(of.title)}</figcaption>{lines(of.title, of.series)}</figure>"
        for of in story.curves
    )
    return _section("Curves, over steps", f'<div class="charts">{drawn}</div>') if drawn else ""


def _overlaid(runs: Sequence[RecordedRun]) -> str:
    main = next((next(iter(run.result)) for run in runs if run.result), None)
    titles: dict[str, list[tuple[str, Any]]] = {}
    for run in runs:
        for of in curves_of(run.metrics, main):
            for name, series in of.series:
                titles.setdefault(name if of.title == name else f"{name}/{of.title}", []).append(
                    (run.name, series)
                )
    several = {title: drawn for title, drawn in titles.items() if len(drawn) > 1}
    return "".join(
        f"<figure><figcaption>{_e(title)}</figcaption>{lines(title, drawn)}</figure>"
        for title, drawn in list(several.items())[:8]
    )


def _held_out(story: Story) -> str:
    numbers = _table(["", ""], [[key, told(value)] for key, value in story.held_out])
    if numbers and len(story.held_out) == len(story.run.result):  # they stand at the top already
        numbers = ""
    pictures = _pictures(story)
    of_set = (story.main or "").split("/")[0]
    per_class = story.run.tables.get(f"{of_set}/per_class")
    tables = _rows_table(per_class) if per_class else ""
    if not (numbers or pictures or tables):
        return ""
    return _section("Evaluation", f'<div class="beside">{numbers}{tables}</div>{pictures}')


def _pictures(story: Story) -> str:
    """Its own pictures, as images: whatever stands in one can do nothing here."""
    try:
        figures = story.run.figures
    except SourceError:
        return "<p class='quiet'>Its pictures are not there any more.</p>"
    of_set = (story.main or "").split("/")[0]
    order = sorted(figures, key=lambda key: (not key.startswith(f"{of_set}/"), "matrix" not in key, key))
    shown = ""
    for key in order:
        if shown.count("<figure>") == MOST_PICTURES:
            break
        image = _image(figures[key])
        if image:
            shown += f'<figure><figcaption>{_e(key)}</figcaption><img alt="{_e(key)}" src="{image}"></figure>'
    return f'<div class="charts" style="margin-top:18px">{shown}</div>' if shown else ""


_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


def _image(path: Path) -> str | None:
    if path.stat().st_size > LARGEST_PICTURE:
        return None
    if path.suffix in (".png", ".jpg", ".jpeg", ".gif", ".webp"):
        kind, data = path.suffix[1:].replace("jpg", "jpeg"), path.read_bytes()
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    found = _SVG.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return None
    svg = found[0]
    if "xmlns=" not in svg[:400]:
        svg = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    if "xlink:" in svg and "xmlns:xlink" not in svg[:600]:
        svg = svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


# Where it comes from, and how to go on ---------------------------------------------------------------


def _settings(run: RecordedRun) -> str:
    if not run.params or run.config.get("study"):  # a study's are those of its sampler
        return ""
    chosen = [[key, told(value, 200)] for key, value in run.params_set.items()]
    body = _table(["set by you", ""], chosen) if chosen else "<p>Nothing was set by hand.</p>"
    rest = [[key, told(value, 200)] for key, value in run.params.items() if key not in run.params_set]
    if rest:
        body += (
            f"<details><summary>All {len(run.params)} parameters</summary>{_table(['', ''], rest)}</details>"
        )
    return _section("Parameters", body)


def _left_out(run: RecordedRun) -> str:
    rows = [[key, told(value, 400)] for key, value in run.notes.items()]
    if run.waiting:
        rows.append(["delivery", f"{run.waiting} records have not arrived yet: autolog sync"])
    return _section("What is missing here, and why", _table(["", ""], rows)) if rows else ""


def _again(story: Story) -> str:
    body = ""
    if story.loading:
        body += f"<p>Load its model:</p><pre>import autolog\nmodel = {_e(story.loading)}</pre>"
    if story.rerun:
        body += f"<p>Run it again:</p><pre>{_e(chr(10).join(story.rerun))}</pre>"
    packages = story.run.config.get("git/dirty")
    return _section("Go on from here", body) if body or packages else ""


# Pieces ----------------------------------------------------------------------------------------------


def _e(value: Any) -> str:
    return html.escape(str(value))


def _of(value: Any) -> str:
    return "-" if value is None else told(value)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_e(title)}</h2>{body}</section>" if body else ""


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return _table(["", ""], [list(row) for row in rows])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], marks: dict[int, str] | None = None) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head) if any(head) else ""
    body = "".join(
        f'<tr class="{(marks or {}).get(n, "")}">' + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>"
        for n, row in enumerate(rows)
    )
    head_row = f"<thead><tr>{top}</tr></thead>" if top else ""
    return f'<div class="scroll"><table>{head_row}<tbody>{body}</tbody></table></div>'


def _rows_table(rows: Sequence[dict[str, Any]]) -> str:
    head = list(dict.fromkeys(key for row in rows for key in row))
    shown = [
        [told(row.get(key)) if row.get(key) is not None else "" for key in head] for row in rows[:MOST_ROWS]
    ]
    return _table(head, shown)


def _differing(found: Sequence[Difference], names: Sequence[str], by_section: bool = False) -> str:
    head = ["", *([""] if by_section else []), *names]
    rows = ""
    before = None
    for d in found:
        cells = "".join(
            f'<td class="{"good" if d.best == n else ""}">{_e(_of(value))}</td>'
            for n, value in enumerate(d.values)
        )
        section = (
            f'<td class="quiet">{_e(d.section) if d.section != before else ""}</td>' if by_section else ""
        )
        before = d.section
        rows += f"<tr>{section}<td>{_e(d.key)}</td>{cells}</tr>"
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _diff(diff: Sequence[str]) -> str:
    style = {"+": "plus", "-": "minus"}
    told_lines = [f'<span class="{style.get(line[:1], "")}">{_e(line)}</span>' for line in diff[:2_000]]
    return f"<pre>{chr(10).join(told_lines)}</pre>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_e(part)}</p>" for part in text.split("\n\n"))


def _whole(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{_e(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )
