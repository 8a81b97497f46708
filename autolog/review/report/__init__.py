"""Reports: of one run as a page and as Markdown, of several as a comparison."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from autolog.review.listing import chosen
from autolog.review.recorded import RecordedRun
from autolog.review.report.page import comparison_page, run_page
from autolog.review.report.story import story_of

__all__ = ["report"]


def report(run_or_runs: RecordedRun | str | Iterable[RecordedRun], path: str | os.PathLike[str]) -> Path:
    """Write a report: of one run, or of several beside each other, where only what differs is shown.

    It is one page of HTML that stands by itself: it holds its pictures, runs no script and fetches nothing.

    >>> autolog.report(autolog.runs("churn").best, "best.html")

    Args:
        run_or_runs: what :func:`autolog.runs` has read; of one also what ``runs().get()`` takes: ``"last"``,
            the beginning of its id.
        path: of the page.

    Returns:
        The page.

    Raises:
        TypeError: something else than runs that were read back.
        ValueError: no run at all.
        LookupError: there is no such run.
    """
    several = chosen(run_or_runs, "report")
    page = (
        run_page(story_of(several[0], several[0].siblings)) if len(several) == 1 else comparison_page(several)
    )
    written = Path(path)
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(page, encoding="utf-8")
    return written
