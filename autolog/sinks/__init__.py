"""Where a run's records go: what a record is, and what a sink must be able to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NotRequired, Protocol, TypedDict

__all__ = [
    "UNSHOWN_TABLE",
    "AlertRecord",
    "ArtifactRecord",
    "ChartRecord",
    "ConfigRecord",
    "FinishRecord",
    "HtmlRecord",
    "JournalRecord",
    "MadeRecord",
    "MediaRecord",
    "OpenRecord",
    "Record",
    "RowRecord",
    "Sink",
    "SystemRecord",
]

UNSHOWN_TABLE = "autolog.table"
"""The ``_type`` of a table that is stored as Trackio stores one, and that its pages do not show: they show a
picture of it."""

# A record is what a run says, one thing at a time. `run` is the run's id. `id` is the record's own, by which
# a place knows it again when it comes a second time. `time` is in seconds since 1970.


class _Record(TypedDict):
    run: str
    id: str
    time: float


class JournalRecord(TypedDict):
    """The first of a journal: where all that follows goes, and which version wrote it."""

    kind: Literal["journal"]
    run: Literal[""]
    to: list[str]
    version: NotRequired[int]


class OpenRecord(_Record):
    """A run begins, or goes on in another process. Who it is: :class:`autolog.sinks.identity.Identity`."""

    kind: Literal["open"]
    project: str
    name: str
    group: str | None
    parent: str | None
    to: list[str]
    adopted: bool
    joined: bool
    resumed: int
    shared: bool
    schema: int


class ConfigRecord(_Record):
    """Keys to add to the run's config, or to replace there.

    What delivering the run costs is added to ``autolog/overhead_seconds`` by whoever delivers it.
    """

    kind: Literal["config"]
    values: dict[str, Any]


class RowRecord(_Record):
    """What was logged at a step: numbers, and tables as lists of rows, by key.

    ``as_stored``: the values are in the form in which Trackio stores them, and a list is a list.
    """

    kind: Literal["row"]
    step: int
    values: dict[str, Any]
    as_stored: NotRequired[bool]


class ChartRecord(_Record):
    """A picture's data, drawn by the sink: the fields of :class:`autolog.capture.figures.Chart`."""

    kind: Literal["chart"]
    step: int
    key: str
    caption: str | None
    chart: dict[str, Any]


class HtmlRecord(_Record):
    """A picture that is drawn already, as SVG or HTML."""

    kind: Literal["html"]
    step: int
    key: str
    caption: str | None
    text: str


class MadeRecord(_Record):
    """Pictures and tables that the sink makes: see :func:`autolog.capture.made.make`.

    ``key`` is what they are together called. With ``comes_last`` they are made of what has arrived of the
    run: its pictures and files, too.
    """

    kind: Literal["made"]
    step: int
    key: str
    by: str
    given: dict[str, Any]
    comes_last: NotRequired[bool]


class MediaRecord(_Record):
    """A file of Trackio's media folder that a row refers to, and that a server or Space needs as well.

    With ``folder`` it is one of the project's, which no row refers to, and the folder that it goes to there.
    """

    kind: Literal["media"]
    step: int
    key: str
    path: str
    folder: NotRequired[str]


class AlertRecord(_Record):
    """Something a person should see. ``level`` is ``info``, ``warn`` or ``error``."""

    kind: Literal["alert"]
    step: int
    title: str
    text: str | None
    level: str


class SystemRecord(_Record):
    """The machine's load, under the names of :meth:`Sink.sample_system`."""

    kind: Literal["system"]
    values: dict[str, float]


class ArtifactRecord(_Record):
    """A version of an artifact.

    ``files`` are paths by their name in the artifact; if they are ``staged``, they are ours to delete.
    ``references`` are URIs of files that stay where they are. ``limit`` is :attr:`Settings.storage_limit
    <autolog.Settings>`, beyond which it is left out; without one it is kept in any case. ``is_best``: it is
    the best of several that were trained.
    """

    kind: Literal["artifact"]
    name: str
    type: str
    files: dict[str, str]
    staged: bool
    references: dict[str, str]
    aliases: list[str]
    metadata: dict[str, Any]
    description: NotRequired[str]
    limit: NotRequired[int]
    is_best: NotRequired[bool]


class FinishRecord(_Record):
    """The run has ended."""

    kind: Literal["finish"]
    status: str


Record = (
    OpenRecord
    | ConfigRecord
    | RowRecord
    | ChartRecord
    | HtmlRecord
    | MadeRecord
    | MediaRecord
    | AlertRecord
    | SystemRecord
    | ArtifactRecord
    | FinishRecord
)


class NotOpenedError(KeyError):
    """A record of a run that has not been opened in this journal."""


class Sink(Protocol):
    """What a run needs of whoever takes its records. No method may block the caller for long.

    A sink of your own has these six methods; if it inherits from this class, it needs the first four.

    Examples:
        >>> class Lines(autolog.sinks.Sink):
        ...     def write(self, record): ...
        >>> autolog.enable(sink=Lines())
    """

    def write(self, record: Record) -> None:
        """Take one record, from any thread, at once."""

    def stage(self, run_id: str) -> Path:
        """A folder on disk for files that travel with this run's artifacts."""

    def sync(self, timeout: float) -> bool:
        """Wait until everything written so far would survive the death of this process."""

    def deliver(self, timeout: float) -> bool:
        """Wait until everything written so far has arrived. False: it has not, yet."""

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """Where a person looks at this run; None: nowhere."""
        return None

    def sample_system(self) -> dict[str, float]:
        """The machine's load now, under the sink's own names; empty when it cannot be told."""
        return {}
