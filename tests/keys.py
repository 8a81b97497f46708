"""What docs/keys.md says of a run's keys, to hold a run against it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from autolog.sinks.memory import MemoryRun

PAGE = Path(__file__).parent.parent / "docs" / "keys.md"

_SET = "(train|val|test|eval|cv)(/.+)?"
_ANY = {"<function>", "<key>", "<scorer>", "<your name>"}  # what only a user's own names stand for


@cache
def documented() -> re.Pattern[str]:
    """All keys that stand in the page's tables, from its second part on; a ``<word>`` is any text."""
    page = PAGE.read_text().partition("## Metrics of an evaluation")[2].partition("## From old names")[0]
    rows = [line for line in page.splitlines() if line.startswith("|")]
    keys = {key for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])}
    plain = [key for key in keys if not any(word in key for word in _ANY)]
    return re.compile(
        "|".join(re.sub("<[^>]+>", ".+", re.escape(key).replace("<set>", _SET)) for key in plain)
    )


def undocumented(run: MemoryRun) -> set[str]:
    """The keys of a run that the page does not name."""
    keys = {*run.metrics, *run.tables, *run.charts, *run.config, *(one["name"] for one in run.artifacts)}
    # A boosting's own names of metrics, of the model that is kept: the page has them with its rounds.
    keys -= {key for key in keys if f"rounds/{key}" in keys}
    return {key for key in keys if not documented().fullmatch(key)}
