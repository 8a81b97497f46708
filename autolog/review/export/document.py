"""Runs as one document of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from autolog.review.recorded import RecordedRun
from autolog.review.series import Series
from autolog.review.values import plain_json

__all__ = ["as_document", "write_json"]


def write_json(runs: Sequence[RecordedRun], path: Path) -> None:
    """``{"runs": [...]}``, each as :func:`as_document` says."""
    said = {"runs": [plain_json(as_document(run)) for run in runs]}
    path.write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2, default=str))


def as_document(run: RecordedRun) -> dict[str, Any]:
    """All that a run holds but the contents of its files."""
    return {
        "id": run.id,
        "name": run.name,
        "project": run.project,
        "status": run.status,
        "started": run.started,
        "seconds": run.seconds,
        "group": run.group,
        "tags": run.tags,
        "parent": run.parent_id,
        "result": run.result,
        "params": run.params,
        "config": run.config,
        "metrics": _series(run.metrics),
        "system": _series(run.system),
        "tables": run.tables,
        "texts": run.texts,
        "notes": run.notes,
        "words": run.words,
        "error": run.error,
        "alerts": run.alerts,
        "artifacts": [
            {
                "name": a.name,
                "type": a.type,
                "version": a.version,
                "aliases": a.aliases,
                "is_input": a.is_input,
                "bytes": a.size,
                "metadata": a.metadata,
                "files": a.files,
                "references": a.references,
            }
            for a in run.artifacts
        ],
        "children": [child.id for child in run.children],
    }


def _series(of: Mapping[str, Series]) -> dict[str, Any]:
    return {
        key: {"steps": series.steps, "times": series.times, "values": series.values}
        for key, series in of.items()
    }
