"""The report in the Markdown that Trackio's Reports page shows: headings, bold and code.

It knows no escapes, and puts all that stands between its first and its last list into one, so there is none.
"""

from __future__ import annotations

from autolog.review.report.story import Story
from autolog.review.values import duration_of, told

__all__ = ["markdown"]

MOST_CHANGES = 12


def markdown(story: Story) -> str:
    """The report of one run, in a screen."""
    run = story.run
    took = f" in {duration_of(run.seconds)}" if run.seconds is not None else ""
    parts = [
        f"# {_plain(run.name)}",
        _plain(story.sentence),
        f"**{_plain(run.status or 'no status')}**{took}",
    ]
    if story.failure is not None:
        parts.append(f"**{_plain(story.failure.error)}**")
        if story.failure.place:
            parts.append(f"In your code: {_code(story.failure.place)}")
        if story.failure.line:
            parts.append(_code(story.failure.line))
    if run.result:
        parts.append(" · ".join(f"{_plain(key)} **{told(value)}**" for key, value in run.result.items()))
    if story.verdict:
        parts.append(_plain(story.verdict))
    if story.leaders:
        parts.append("## The best below it")
        first = [(child, next(iter(child.result.items()))) for child in story.leaders[:5]]
        parts += [f"{_plain(child.name)}: {_plain(key)} **{told(value)}**" for child, (key, value) in first]
    if story.before is not None:
        parts += [f"## Against {_plain(story.before.name)}", *_changes(story)]
    for title, rows in (
        ("Data", story.data),
        ("Where it comes from", story.origin),
        ("What it cost", story.cost),
    ):
        if rows:
            parts.append(f"## {title}")
            parts.append(" · ".join(f"{_plain(name)}: {_plain(value)}" for name, value in rows))
    if run.notes:
        parts.append("## What is missing here, and why")
        parts += [f"{_plain(name)}: {_plain(told(why, 300))}" for name, why in run.notes.items()]
    if story.loading:
        parts.append("## Load its model")
        parts.append(_code(story.loading))
    return "\n\n".join(parts)


def _changes(story: Story) -> list[str]:
    changes = [d for d in story.changed if d.section not in ("result", "cost")]
    lines = [
        f"{d.section}: {_plain(d.key)} {_code(told(d.values[0]))} → {_code(told(d.values[1]))}"
        for d in changes[:MOST_CHANGES]
    ]
    if len(changes) > MOST_CHANGES:
        lines.append(f"and {len(changes) - MOST_CHANGES} more")
    if story.diff:
        lines.append("The code differs.")
    return lines or ["Nothing but its result differs."]


def _plain(text: str) -> str:
    """A text on one line, of which nothing is a mark."""
    return " ".join(str(text).split()).replace("**", "* *").replace("`", "'")


def _code(text: str) -> str:
    return f"`{_plain(text)}`"
