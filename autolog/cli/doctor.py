"""``autolog doctor``: what recording needs, how it stands, and what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from autolog.cli.common import AsJson, console, print_json, text
from autolog.review.health import Finding, examined, without_names

__all__ = ["doctor"]

STYLES = {"ok": "green", "missing": "yellow", "wrong": "bold red"}


def doctor(
    frameworks: Annotated[
        list[str] | None, typer.Argument(help="Only these; else all that are installed.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Markdown for an issue: no secrets, no names of yours.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at what recording needs: packages, hooks, directory, server. Exits with 1 if something is wrong.

    Each framework that is installed is imported once, in a process of its own: that takes a while.

    \b
    autolog doctor
    autolog doctor sklearn keras --report
    """
    found: list[Finding] = []
    for finding in examined(frameworks or ()):
        found.append(finding)
        if not (report or as_json):  # said as it is found: imports take seconds
            _say(finding)
    counts = Counter(finding.state for finding in found)
    if as_json:
        print_json([vars(finding) for finding in found])
    elif report:
        console.print(text(without_names(_markdown(found))))
    else:
        console.print(text(", ".join(f"{count} {state}" for state, count in counts.most_common()), "dim"))
    raise typer.Exit(int(counts["wrong"] > 0))


def _say(finding: Finding) -> None:
    line = text(f"{finding.state:<8}", STYLES[finding.state])
    line.append_text(text(finding.what, "bold"))
    line.append_text(text(f"  {finding.said}"))
    console.print(line)
    if finding.remedy:
        console.print(text(f"        → {finding.remedy}"))


def _markdown(found: list[Finding]) -> str:
    lines = ["| | what | how it stands | remedy |", "|---|---|---|---|"]
    for one in found:
        cells = (one.state, one.what, one.said, f"`{one.remedy}`" if one.remedy else "")
        lines.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join(lines)
