"""Runs taken out: as tables, as a document, as a page, as a research object."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from autolog.review.export.document import write_json
from autolog.review.export.tables import write_csv, write_parquet
from autolog.review.listing import chosen
from autolog.review.recorded import RecordedRun
from autolog.review.report import report

__all__ = ["FOLDERS", "KINDS", "export"]

FOLDERS = ("csv", "parquet", "ro-crate")
"""The kinds that are a folder of files; the others are one file."""

KINDS = (*FOLDERS, "json", "html")


def export(
    run_or_runs: RecordedRun | str | Iterable[RecordedRun], path: str | os.PathLike[str], to: str = "csv"
) -> Path:
    """Write runs out in a format that other programs read. Every number is in it, with all of its digits.

    >>> autolog.export(autolog.runs("churn"), "churn", to="parquet")

    Args:
        run_or_runs: what :func:`autolog.runs` has read; of one also what ``runs().get()`` takes.
        path: of the file or folder. A folder is made; one that holds something is left alone.
        to: ``csv`` or ``parquet``: a folder with ``runs`` (a row for each: result, parameters, config as
            JSON), ``metrics`` (a row for each value: run, key, step, time in seconds since 1970, value),
            ``system`` (the machine's load, likewise), and the runs' own tables below ``tables/``.
            ``json``: one document with all of it; NaN and infinities are texts there. ``html``: the report.
            ``ro-crate``: a Process Run Crate, a folder that also holds the code and the kept files, and
            describes all of it in ``ro-crate-metadata.json``.

    Returns:
        The file or folder.

    Raises:
        TypeError: something else than runs that were read back.
        ValueError: another format, or no run at all.
        LookupError: there is no such run.
        FileExistsError: a folder that is not empty.
        ImportError: ``parquet`` needs pyarrow, ``ro-crate`` the package rocrate.
        SourceError: a file that belongs to a run is not there any more.
    """
    if to not in KINDS:
        raise ValueError(f"to={to!r}: expected one of {', '.join(KINDS)}")
    runs = chosen(run_or_runs, "export")
    target = Path(path)
    if to == "html":
        return report(runs, target)
    with _whole(target, is_folder=to in FOLDERS) as unfinished:
        _writer(to)(runs, unfinished)
    return target


def _writer(to: str) -> Callable[[Sequence[RecordedRun], Path], None]:
    if to == "ro-crate":
        from autolog.review.export.crate import write_crate

        return write_crate
    return {"csv": write_csv, "parquet": write_parquet, "json": write_json}[to]


@contextlib.contextmanager
def _whole(target: Path, is_folder: bool) -> Iterator[Path]:
    """Where to write what becomes the target when all of it is there, so that Ctrl-C leaves no half of it."""
    if target.is_dir() and (not is_folder or any(target.iterdir())):
        why = "is not empty" if is_folder else "is a folder"
        raise FileExistsError(f"{target} {why}: name another path, or remove it")
    if is_folder and target.is_file():
        raise FileExistsError(f"{target} is a file, and a folder is to be written: name another path")
    # A folder that is there stays: a shell may be in it, a link lead to it, or a disk begin at it.
    where = target if target.is_dir() else target.parent
    where.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".autolog-", dir=where)).resolve()
    try:
        unfinished = beside / (target.name or "export")
        if is_folder:
            unfinished.mkdir()
        yield unfinished
        if target.is_dir():
            for path in unfinished.iterdir():
                os.replace(path, target / path.name)
        else:
            os.replace(unfinished, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
