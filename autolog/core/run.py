"""Run: what a user has in hand of a run, and calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from autolog.core import bare
from autolog.core.config import config_of
from autolog.core.given import log, log_system
from autolog.core.recording import Recording
from autolog.core.standing import stand_in
from autolog.core.statuses import STATUSES, status_of
from autolog.core.writer import RunError
from autolog.process.guard import measured, shield

__all__ = ["Run", "RunError", "recording_of"]

TRACKIOS = ("config", "link_artifact", "log_artifact", "log_system", "use_artifact")  # have names of ours too


class Run:
    """One training, or whatever you want to see as one.

    Made by :func:`autolog.run`, :meth:`child`, or by a framework's hook. A run is also a context
    manager: inside, it is the current one; leaving finishes it, with the status that fits.
    """

    def __init__(self, recording: Recording):
        if not isinstance(recording, Recording):
            raise TypeError(
                f"Run({recording!r}): a run is opened by autolog.run(). "
                "Write `with autolog.run(...) as run:`."
            )
        self._recording = recording

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        from autolog.core.words import of_run

        raise AttributeError(of_run(name))

    @property
    def id(self) -> str:
        """Unique, also in Trackio."""
        return self._recording.id

    @property
    def name(self) -> str:
        """Readable, need not be unique."""
        return self._recording.name

    @property
    def project(self) -> str:
        """As in Trackio."""
        return self._recording.project

    @property
    def group(self) -> str | None:
        """As in Trackio."""
        return self._recording.group

    @property
    def parent(self) -> Run | None:
        """The run that this one is a child of, or None."""
        parent = self._recording.parent
        return parent.face if parent is not None else None

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed``, ``killed``, ``pruned`` or ``crashed``."""
        return self._recording.status

    @property
    def url(self) -> str | None:
        """Where a person looks at it (locally: while ``trackio show`` runs); None if nowhere."""
        return self._recording.url

    @measured
    def params(self, values: Mapping[str, Any], *, prefix: str = "params") -> None:
        """Record hyperparameters: into the config, under ``prefix``, beside those of earlier calls.

        Args:
            values: names to anything. What JSON does not know becomes its repr or qualified name, a long
                text is shortened, a secret (by its name or shape) becomes ``***``.
            prefix: the config key that holds them; ``""`` puts them at the top level.

        Raises:
            TypeError: ``values`` is not a mapping.
            RunError: the run is finished.
        """
        if not isinstance(values, Mapping):
            raise TypeError(
                f"params: expected a mapping of names to values, got {type(values).__name__}. "
                'Write run.params({"lr": 0.1}).'
            )
        self._check_open("params")
        self._recording.params(values, prefix=prefix)

    @measured
    def log(self, metrics: Mapping[str, Any], step: int | None = None, *, strict: bool = False) -> None:
        """Record values at a step: whatever ``trackio.log`` takes, in the form in which it stores them.

        Args:
            metrics: names to numbers (Python, NumPy, torch and JAX scalars too), texts, lists, figures, and
                Trackio's own ``Table``, ``Image``, ``Html``, ``Histogram``, ``Markdown``, ``Trace``; names of
                nested mappings are joined by ``/``. What Trackio does not take either is left out: a warning
                says so, once for each name, and a note in the run.
            step: the optimizer's global step, not negative. None: one more than the last.
            strict: whether a value that nobody takes is an error.

        Raises:
            TypeError: no mapping, or a step that is no whole number; with ``strict`` a value that Trackio
                does not take. Nothing of the call is recorded.
            ValueError: a negative step.
            RunError: the run is finished.
        """
        recording = self._recording
        if recording.is_closed:
            self._check_open("log")
        log(recording, metrics, step, strict)

    @measured
    def figure(self, key: str, figure: Any, *, step: int | None = None, caption: str | None = None) -> None:
        """Record a picture.

        Args:
            key: its name; the part before the first ``/`` groups it in the dashboard.
            figure: a matplotlib or plotly figure (drawn now, since it may change afterwards), or a
                :class:`autolog.capture.figures.Chart` (drawn later, off this thread).

        Raises:
            TypeError: something else.
            RunError: the run is finished.
        """
        self._check_open("figure")
        self._recording.figure(key, figure, step=step, caption=caption)

    @measured
    def table(
        self, key: str, rows: Any, *, columns: Iterable[str] | None = None, step: int | None = None
    ) -> None:
        """Record a table.

        Args:
            key: its name.
            rows: a list of dicts, a list of lists with ``columns``, or a pandas or polars DataFrame.

        Raises:
            TypeError: something else.
            RunError: the run is finished.
        """
        self._check_open("table")
        self._recording.table(key, rows, columns=columns, step=step)

    @measured
    def artifact(
        self,
        path: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
        name: str | None = None,
        *,
        type: str = "file",
        aliases: Iterable[str] = (),
        reference: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Record files as a version of an artifact. They are copied off this thread.

        Args:
            path: a file or folder, or a mapping of names inside the artifact to files.
            name: of the artifact; the file's name if it is not given. Letters, digits, ``.``, ``_``, ``-``;
                others become ``-``.
            type: ``model``, ``dataset``, ``code``, ...
            aliases: names that point to this version from now on, e.g. ``best``.
            reference: record where the file is, without a copy of it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no file at all.
            RunError: the run is finished.
        """
        self._check_open("artifact")
        self._recording.artifact(
            path, name, type=type, aliases=aliases, reference=reference, metadata=metadata
        )

    @measured
    def alert(
        self,
        title: str,
        text: str | None = None,
        level: str = "warn",
        step: int | None = None,
        webhook_url: str | None = None,
    ) -> None:
        """Record something a person should see: it is listed on the dashboard's alerts page.

        Args:
            level: ``info``, ``warn`` or ``error``, or Trackio's ``AlertLevel``.
            webhook_url: where it is sent, too, as ``trackio.alert`` sends it. None: to
                ``TRACKIO_WEBHOOK_URL``, if that is set.

        Raises:
            ValueError: another level.
            RunError: the run is finished.
        """
        self._check_open("alert")
        bare.alert(self._recording, title, text, level, step, webhook_url)

    # What Trackio's own run can beside: under its names, with its arguments, and with what it returns.

    @property
    def config(self) -> dict[str, Any]:
        """What you have given for the top level of the config; what you set in it is recorded."""
        return config_of(self._recording)

    @measured
    def log_system(self, metrics: Mapping[str, Any]) -> None:
        """Record values of the machine, which have a time and no step, as ``trackio.log_system`` does.

        Raises:
            TypeError: no mapping.
            RunError: the run is finished.
        """
        self._check_open("log_system")
        log_system(self._recording, metrics)

    def log_artifact(
        self,
        artifact_or_path: Any,
        name: str | None = None,
        type: str | None = None,
        aliases: list[str] | None = None,
        overwrite: bool = False,
    ) -> Any:
        """Store a version of an artifact now, as ``trackio.log_artifact`` does; :meth:`artifact` waits not.

        Args:
            artifact_or_path: a ``trackio.Artifact``, or a file or folder.
            name: of the artifact. None: the file's.
            type: ``model``, ``dataset``, ... None: ``unspecified``.
            aliases: names that point to this version from now on.
            overwrite: whether all other versions are removed.

        Returns:
            The ``trackio.Artifact``, with its version; of a server or Space that does not answer without: it
            is stored there later.

        Raises:
            ValueError, RuntimeError: what Trackio does not take: no such file, logged already.
            RunError: the run is finished.
        """
        self._check_open("log_artifact")
        return bare.log_artifact(self._recording, artifact_or_path, name, type, aliases, overwrite)

    def use_artifact(self, artifact_or_name: Any, type: str | None = None) -> Any:
        """Fetch an artifact, and record that this run has used it, as ``trackio.use_artifact`` does.

        Returns:
            The ``trackio.Artifact``: ``.download()`` gives its files.

        Raises:
            ValueError: there is none, or it is of another type.
            OSError: the server or Space does not answer.
            RunError: the run is finished.
        """
        self._check_open("use_artifact")
        return bare.use_artifact(self._recording, artifact_or_name, type)

    def link_artifact(
        self,
        artifact: Any,
        target_path: str,
        aliases: list[str] | None = None,
        bucket_id: str | None = None,
    ) -> Any:
        """Link an artifact's version into a collection of a registry, as ``trackio.Run.link_artifact`` does.

        Returns:
            The ``trackio.Artifact`` as the registry has it.

        Raises:
            ValueError, TypeError, NotImplementedError: as Trackio has it.
            RunError: the run is finished.
        """
        self._check_open("link_artifact")
        return bare.link_artifact(self._recording, artifact, target_path, aliases, bucket_id)

    @measured
    def tag(self, *tags: str) -> None:
        """Add tags to the run.

        Raises:
            TypeError: a tag that is no text.
            RunError: the run is finished.
        """
        self._check_open("tag")
        for tag in tags:
            if not isinstance(tag, str):
                raise TypeError(f"tag: {tag!r}; expected texts, as in run.tag('baseline', 'nightly').")
        self._recording.tag(*tags)

    @measured
    def report(self, markdown: str | None = None) -> None:
        """Write on the run in your own words; or have a report of it in any case.

        What you write stands in the run's report, in what ``autolog show`` says of it, and among Trackio's
        reports, which know headings, ``**bold**``, lists and code between backticks.

        Args:
            markdown: the words. None: the run ends with a report, however short it is (see
                ``Settings.report``), also if it is a child.

        Raises:
            TypeError: no text.
            RunError: the run is finished.
        """
        self._check_open("report")
        if markdown is None:
            self._recording.wants_report = True
        elif isinstance(markdown, str):
            self._recording.words(markdown)
        else:
            raise TypeError(f"report: expected a text, got {type(markdown).__name__}.")

    @measured
    def child(self, name: str | None = None, *, config: Mapping[str, Any] | None = None) -> Run:
        """Open a run below this one. Use it in a ``with`` block, or finish it by hand."""
        return self._recording.child(name, config=config, by_user=True).face

    @measured
    def finish(self, status: str = "finished") -> None:
        """End the run: nothing can be recorded to it by hand any more. Waits for no server.

        Args:
            status: ``finished``, ``failed``, ``killed``, ``pruned`` or ``crashed``.

        Raises:
            ValueError: another status.
            RunError: the run is finished already, or belongs to another process.
        """
        if status not in STATUSES[1:]:
            raise ValueError(f"finish: status={status!r}; expected one of {', '.join(STATUSES[1:])}.")
        self._check_open("finish")
        recording = self._recording
        if not recording.is_of_this_process:
            raise RunError(
                f"run {self.name!r} was opened by another process, which finishes it. "
                "Leave finish() out here; what this process logs to it is kept."
            )
        recording.close(status)

    def __enter__(self) -> Run:
        self._recording.exits.append(self._recording.enter())
        self._recording.exits.append(stand_in(self._recording, imports=False))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recording = self._recording
        recording.exits.pop()()
        recording.exits.pop()()
        if error is not None:
            with shield("recording how a run ended"):
                recording.note_error(error)
        if not recording.is_closed and recording.is_of_this_process:
            try:
                self.finish(status_of(error))
            except RunError:
                if not recording.is_closed:  # else a signal handler has just finished it
                    raise

    def __dir__(self) -> list[str]:
        # For tab completion: what a user calls. (The rest of an object is Python's, or Trackio's run's.)
        return [name for name in super().__dir__() if not name.startswith("_") and name not in TRACKIOS]

    def __repr__(self) -> str:
        return repr(self._recording)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other._recording is self._recording

    def __hash__(self) -> int:
        return hash(self._recording)

    def __deepcopy__(self, memo: Any) -> Run:
        return self  # whoever copies what writes to it (KerasTuner copies callbacks) writes to the same run

    def __reduce__(self) -> Any:
        return _face_of, (self._recording, type(self))  # which is the same run in another process

    def _check_open(self, what: str) -> None:
        recording = self._recording
        if recording.is_closed:
            raise RunError(
                f"{what}: run {self.name!r} is already finished (status {self.status!r}). "
                "Open another one with autolog.run(), or move this call inside its with block."
            )


def _face_of(recording: Recording, kind: type[Run]) -> Run:
    return recording.face_as(kind)


def recording_of(run: Run) -> Recording:
    """The run as rooms write it."""
    return run._recording
