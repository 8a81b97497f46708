"""The report that a run ends with: made in the process that draws, from what has been recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autolog.capture.made import Parts, Piece
from autolog.review.archive import Archive
from autolog.review.listing import of_project
from autolog.review.recorded import RecordedRun
from autolog.review.report.markdown import markdown
from autolog.review.report.page import run_page
from autolog.review.report.story import story_of
from autolog.review.source import Files, Server
from autolog.sinks.identity import destination_of
from autolog.sinks.trackio.directory import our_folder
from autolog.sinks.trackio.names import canonical_project

__all__ = ["page_of", "parts_of"]


def parts_of(given: dict[str, Any]) -> Parts:
    """A page on this machine, and its Markdown for Trackio's Reports page.

    Args:
        given: ``project`` and ``run`` (its id), and ``to``: where its records go. What a server was not sent
            cannot stand in a report that is made of what it has.
    """
    return {"report": lambda: _pieces(given)}


def _pieces(given: dict[str, Any]) -> Iterator[Piece]:
    to = destination_of(given["to"])
    archive = Archive(Files() if to[0] == "local" else Server(to))
    found = {run.id: run for run in of_project(archive, given["project"])}
    run = found[given["run"]]
    story = story_of(run, list(found.values()))
    page = page_of(run)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(run_page(story), encoding="utf-8")
    yield Piece("autolog/report", {"_type": "trackio.markdown", "_value": markdown(story)})


def page_of(run: RecordedRun) -> Path:
    """Where the page of a run is kept that its own program has made."""
    return our_folder() / "reports" / canonical_project(run.project) / f"{run.id}.html"
