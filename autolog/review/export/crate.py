"""Runs as a Process Run Crate: a folder of files with a description that machines of archives read.

The profile: https://www.researchobject.org/workflow-run-crate/profiles/process_run_crate/ (version 0.5).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autolog.review.export.document import write_json
from autolog.review.export.tables import write_csv
from autolog.review.recorded import RecordedRun, folders_of
from autolog.review.report import report
from autolog.review.report.story import failure_of, sentence_of
from autolog.review.values import file_names, told

__all__ = ["write_crate"]

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
STATUS = {"finished": "CompletedActionStatus", "running": "ActiveActionStatus"}  # all others have failed
REPORT, FIGURES = "report.html", "figures"  # in the folder of a run
KINDS = {".csv": "text/csv", ".json": "application/json", ".html": "text/html", ".svg": "image/svg+xml"}


def write_crate(runs: Sequence[RecordedRun], folder: Path) -> None:
    """Write it: an action for each run, with its parameters, data and software, and what it has made.

    Raises:
        ImportError: the package rocrate is not installed.
        SourceError: a file of a run is not there any more.
    """
    try:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise ImportError("to='ro-crate' needs rocrate: pip install rocrate") from error
    crate = ROCrate(version="1.1")

    def described(identifier: str, type_: str, /, **properties: Any) -> Any:
        said = {key: value for key, value in properties.items() if value is not None}
        return crate.add(ContextEntity(crate, identifier, properties={"@type": type_, **said}))

    def file(path: Path, **properties: Any) -> Any:
        kind = {"encodingFormat": KINDS[path.suffix]} if path.suffix in KINDS else {}
        where = path.relative_to(folder).as_posix()
        return crate.add_file(
            path, where, properties={**kind, "contentSize": path.stat().st_size, **properties}
        )

    crate.metadata.extra_contexts.append(TERMS)
    names = ", ".join(told(run.name) for run in runs[:5]) + (" ..." if len(runs) > 5 else "")
    crate.name = f"{runs[0].project}: {names}"
    crate.description = f"{len(runs)} training run(s), recorded by autolog, with results, code and files."
    crate.license = "not stated"  # the profile wants one, and only the authors know it
    crate.root_dataset["conformsTo"] = described(
        PROFILE, "CreativeWork", name="Process Run Crate", version="0.5"
    )
    # The whole of it as others read it: the actions name what belongs to them.
    (folder / "data").mkdir()
    write_csv(runs, folder / "data")
    write_json(runs, folder / "data" / "runs.json")
    shared = [
        file(path, name=path.stem, description="of all runs of this crate")
        for path in sorted(p for p in (folder / "data").rglob("*") if p.is_file())
    ]
    places = [folder / "runs" / name for name in file_names(run.id for run in runs)]
    crate.root_dataset["mentions"] = [
        _action(run, of, described, file, shared) for run, of in zip(runs, places, strict=True)
    ]
    crate.write(folder)


def _action(run: RecordedRun, of: Path, described: Any, file: Any, shared: list[Any]) -> Any:
    """What happened in one run, whose files go into a folder of its own."""
    of.mkdir(parents=True)
    result = list(shared)
    result.append(file(report(run, of / REPORT), name=f"Report on {run.name}"))
    for (key, picture), name in zip(run.figures.items(), file_names(run.figures), strict=True):
        copy = of / FIGURES / f"{name}{picture.suffix}"
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(picture, copy)
        result.append(file(copy, name=key))
    code: dict[str, Any] = {}
    made = [artifact for artifact in run.artifacts if not artifact.is_input]
    for artifact, place in zip(made, folders_of(made, taken=[REPORT, FIGURES]), strict=True):
        for name, copy in zip(artifact.files, artifact.copy(of / place), strict=True):
            if artifact.type == "code":
                code[name] = file(copy, **{"@type": ["File", "SoftwareSourceCode"]}, name=name)
            else:
                result.append(file(copy, name=f"{artifact.name}: {name}", description=artifact.type))
    result += [
        described(f"#{run.id}-result-{key}", "PropertyValue", name=key, value=value)
        for key, value in run.result.items()
    ]
    end = run.started + run.seconds if run.seconds is not None and run.started else None
    ended = end if run.status != "running" else None
    return described(
        f"#{run.id}",
        "CreateAction",
        name=run.name,
        description=sentence_of(run),
        instrument=_instrument(run, code, described),
        object=[*_given(run, described), *code.values()],
        result=result,
        startTime=_iso(run.started) if run.started else None,
        endTime=_iso(ended) if ended else None,
        actionStatus=f"http://schema.org/{STATUS.get(run.status or 'finished', 'FailedActionStatus')}",
        error=failure_of(run.error).error if run.error else None,
    )


def _instrument(run: RecordedRun, code: dict[str, Any], described: Any) -> Any:
    """The program that ran, if its code was kept; else the framework."""
    framework, version = run.config.get("framework"), run.config.get("framework/version")
    software = described(
        f"#software-{framework or 'unknown'}-{version or ''}",
        "SoftwareApplication",
        name=str(framework or "unknown"),
        softwareVersion=str(version) if version else None,
    )
    entry = code.get(str(run.config.get("run/entry"))) or next(iter(code.values()), None)
    if entry is None:
        return software
    entry["softwareRequirements"] = [software]
    return entry


def _given(run: RecordedRun, described: Any) -> Iterator[Any]:
    """Its parameters, and the data that it was given."""
    for key, value in run.params.items():
        plain = value if isinstance(value, (bool, int, float, str)) else told(value, longest=10_000)
        yield described(f"#{run.id}-{key}", "PropertyValue", name=key, value=plain)
    for key, facts in run.config.items():
        if key.startswith("data/") and isinstance(facts, dict):
            yield described(
                f"#{run.id}-{key}",
                "Dataset",
                name=key,
                description=told(facts, longest=10_000),
                identifier=facts.get("fingerprint"),
            )
    for artifact in run.artifacts:
        if artifact.is_input:
            version = f"{artifact.name}:v{artifact.version}"
            yield described(f"#{run.project}-{version}", "Dataset", name=version)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
