"""All that Trackio offers at a run, called one after the other: on a bare run, and on what stands for one.

Whatever Trackio calls public has to be here. A name that a later version adds is missing, and says so.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trackio
from packaging.version import Version
from trackio.run import Run

# They need no run, or open one.
NOT_OF_A_RUN = set(
    """init show sync freeze delete_project import_csv import_tf_events Api AlertLevel TRACKIO_LOGO_DIR
    ReferenceHandler ResolvedReference register_reference_handler""".split()  # noqa: SIM905 - read as a list
)
# They say of themselves that they are not there yet: made, they raise.
NOT_THERE = set(
    "ArtifactTTL Classes Config EvalTable Graph JoinedTable Molecule Plotly Settings".split()  # noqa: SIM905
)

PIXELS = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


class Calls:
    """The calls on one run.

    Args:
        run: what `trackio.init`, `autolog.run()` or `get_trackio_run()` gives.
        folder: for the files that are logged.
    """

    def __init__(self, run: Any, folder: Path):
        self.run = run
        self.said: dict[str, Any] = {}
        self.files = {name: folder / name for name in ("f.txt", "x.wav", "x.mp4", "x.obj")}
        for name, path in self.files.items():
            path.write_text(f"content of {name}")

    def call(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it; what it has returned or raised is kept under this name."""
        result = None
        try:
            result = function(*args, **kwargs)
            told = result
            if isinstance(result, trackio.Artifact):
                told = {
                    "artifact": result.name,
                    "is_of": [result.type, result.description, result.metadata],
                    "version": [result.version, result.aliases, result.size, result.manifest_digest],
                    "manifest": result.manifest,
                }
            elif name.endswith("log_cpu"):
                told = sorted(result)
            self.said[name] = told
        except Exception as error:
            self.said[name] = f"{type(error).__name__}: {error}"
        if isinstance(self.said[name], str):
            self.said[name] = self.said[name].replace(self.run.project, "PROJECT")
        return result

    def content(self, artifact: Any, file: str) -> str | None:
        """What is in a file of an artifact."""
        if artifact is None:
            return None
        return (
            Path(artifact.download(str(self.files["f.txt"].parents[1] / self.run.project))) / file
        ).read_text()

    def values(self) -> dict[str, Any]:
        """Everything that is made to be logged, by the name that Trackio has for it."""
        rows = [[1, "a"], [2, "b"]]
        made = {
            "Image": lambda: trackio.Image(PIXELS, caption="c"),
            "Video": lambda: trackio.Video(str(self.files["x.mp4"]), caption="c"),
            "Audio": lambda: trackio.Audio(str(self.files["x.wav"]), caption="c"),
            "Html": lambda: trackio.Html("<b>x</b>", caption="c"),
            "Object3D": lambda: trackio.Object3D(str(self.files["x.obj"])),
            "Table": lambda: trackio.Table(data=rows, columns=["n", "s"]),
            "Histogram": lambda: trackio.Histogram([1, 2, 3.0], num_bins=2),
            "Markdown": lambda: trackio.Markdown("# x"),
            "Trace": lambda: trackio.Trace([{"role": "user", "content": "hi"}], metadata={"a": 1}),
        }
        return {name: make() for name, make in made.items() if hasattr(trackio, name)}

    def all(self) -> Calls:
        """Each name, on the module and on the run."""
        self.log()
        self.beside_rows()
        self.artifacts()
        self.files_and_config()
        self.end()
        return self

    def log(self) -> None:
        """Rows: all that can be a value, and steps."""
        run = self.run
        for name, value in self.values().items():
            self.call(name, trackio.log, {f"by module/{name}": value})
            self.call(f"Run.{name}", run.log, {f"by run/{name}": value})
        self.call("log", trackio.log, {"loss": 0.5, "text": "a text", "list": [1, 2]})
        if Version(trackio.__version__) >= Version("0.43"):  # before, without matplotlib, it loses the row
            self.call("log nothing", trackio.log, {"none": None})
        self.call("log at a step", trackio.log, {"loss": 0.25}, 20)
        self.call("log by name", trackio.log, metrics={"loss": 0.125}, step=21)
        self.call("Run.log", run.log, {"loss/run": 0.5, "text/run": "a text", "odd": float("nan")})
        self.call("Run.log at a step", run.log, {"loss/run": 0.25}, 30)
        self.call("Run.log by name", run.log, metrics={"loss/run": 0.125}, step=31)

    def beside_rows(self) -> None:
        """Alerts, and the machine's load."""
        run, level = self.run, trackio.AlertLevel
        self.call("log_system", trackio.log_system, {"load": 0.5, "who": "gpu0", "odd": float("inf")})
        self.call("Run.log_system", run.log_system, {"load/run": np.float32(0.5)})
        self.call("log_cpu", trackio.log_cpu)
        self.call("Run and log_cpu", trackio.log_cpu, run)
        self.call("log_gpu", trackio.log_gpu)

        self.call("alert", trackio.alert, "odd", "text", level.INFO)
        self.call("alert alone", trackio.alert, title="alone")
        self.call("Run.alert", run.alert, "odd run", "text", level.ERROR, 5)
        self.call("Run.alert by name", run.alert, title="named", level=level.WARN, step=6)

    def artifacts(self) -> None:
        """Of a path, and made by hand; used again, and linked."""
        run, files = self.run, self.files
        self.call("log_artifact", trackio.log_artifact, str(files["f.txt"]), name="fx", type="dataset")
        self.call("log_artifact again", trackio.log_artifact, files["f.txt"], "fx", "dataset", ["best"])
        self.call("Run.log_artifact", run.log_artifact, files["f.txt"])
        self.call("log_artifact of a folder", run.log_artifact, files["f.txt"].parent, "folder", "code")
        for name, log in (("module", trackio.log_artifact), ("run", run.log_artifact)):
            artifact = trackio.Artifact(f"made-{name}", "model", "what it is", {"depth": 3})
            artifact.add_file(files["f.txt"], "inside/f.txt")
            artifact.add_reference(files["x.wav"].as_uri(), name="sound")
            same = self.call(f"Artifact by {name}", log, artifact, aliases=["prod"])
            self.said[f"Artifact by {name} is the one given"] = same is artifact
            files["f.txt"].write_text(f"changed by {name}")
            self.call(f"log_artifact by {name}, twice", log, artifact)
            self.call(f"log_artifact by {name}, no file", log, "/no/such/file")
            self.call(f"log_artifact by {name}, second", log, files["f.txt"], name=f"second-{name}")
            self.call(f"log_artifact by {name}, over", log, files["f.txt"], "fx", "dataset", overwrite=True)
        used = self.call("use_artifact", trackio.use_artifact, "made-module:prod")
        self.said["its file"] = self.content(used, "inside/f.txt")
        self.call("Run.use_artifact", run.use_artifact, used, type="model")
        self.call("use_artifact of another type", run.use_artifact, "fx", type="model")
        self.call("use_artifact that is not there", trackio.use_artifact, "nobody")
        if hasattr(run, "link_artifact") and hasattr(trackio.Api, "create_registry"):
            with contextlib.suppress(Exception):  # it is there from the other run
                trackio.Api().create_registry("models")
            collection = f"registry-models/{run.project}"
            self.call("Run.link_artifact", run.link_artifact, used, collection, ["staging"])
            self.call("Run.link_artifact again", run.link_artifact, used, collection)
            self.call("Run.link_artifact of a text", run.link_artifact, "no artifact", collection)
            self.call("use_artifact of a registry", run.use_artifact, f"{collection}:staging")
            for told in self.said.values():
                if isinstance(told, dict) and "artifact" in told and told["artifact"] == run.project:
                    told["artifact"] = "PROJECT"  # the collection is called after it

    def files_and_config(self) -> None:
        """What is saved, and what the run tells of itself."""
        run, files = self.run, self.files
        self.call("save", trackio.save, files["f.txt"])
        self.call("save of a pattern", trackio.save, str(files["f.txt"].parent / "*.wav"))
        self.call("save of nothing", trackio.save, "/no/such/*.file")

        self.said["Run.config"] = {name: value for name, value in run.config.items() if name == "given"}
        trackio.config.update({"later": 3})
        run.config["too"] = 4
        self.said["config"] = [trackio.config["later"], run.config["too"], run.config is trackio.config]
        for name in ("id", "name", "project"):
            self.said[f"Run.{name}"] = type(getattr(run, name)).__name__
        self.said["url"] = hasattr(run, "url")

    def end(self) -> None:
        """It ends, and is gone on with."""
        run = self.run
        self.call("finish", trackio.finish)
        self.call("finish twice", trackio.finish)
        self.call("log after finish", trackio.log, {"after": 1})
        self.call("Run.log after finish", run.log, {"after/run": 1})
        self.call("Run.finish", run.finish)


CALLED = set(
    """log log_system log_gpu log_cpu log_artifact use_artifact finish alert save Artifact
    Image Video Audio Html Object3D Table Trace Histogram Markdown""".split()  # noqa: SIM905
)
OF_A_RUN = set(
    "alert finish link_artifact log log_artifact log_system use_artifact".split()  # noqa: SIM905
)


def unknown() -> set[str]:
    """Public names of the installed Trackio that nothing here calls."""
    module = set(trackio.__all__) - CALLED - NOT_OF_A_RUN - NOT_THERE
    ours = {f"Run.{name}" for name in dir(Run) if not name.startswith("_")}
    return module | ours - {f"Run.{name}" for name in OF_A_RUN}


def stored(directory: Path, project: str, name: str) -> dict[str, Any]:
    """What stands in the database of one run, as plain values: ids and times are not among it."""
    found: dict[str, Any] = {"row": {}, "system": {}, "trace": {}}
    with contextlib.closing(sqlite3.connect(directory / f"{project}.db")) as database, database:

        def ask(columns: str, table: str, where: str = "run_name = ?") -> list[Any]:
            return database.execute(f"SELECT {columns} FROM {table} WHERE {where}", [name]).fetchall()

        for step, row in ask("step, metrics", "metrics"):
            for key, value in json.loads(row).items():
                if not key.startswith(("system/", "autolog/")):
                    found["row"].setdefault(key, []).append([step, _with_files(directory, value)])
        for (row,) in ask("metrics", "system_metrics"):
            for key, value in json.loads(row).items():
                is_measured = key not in ("load", "who", "odd", "load/run")
                found["system"].setdefault(key, []).append("a number" if is_measured else value)
        for key, *rest in ask("key, messages, metadata", "traces"):
            found["trace"][key] = [json.loads(part) for part in rest]
        found["alert"] = sorted(map(list, ask("title, text, level", "alerts")))
        found["artifact"] = sorted(
            map(
                list,
                ask(
                    "a.name, a.type, a.description, v.version, v.metadata, l.direction",
                    "run_artifact_links l JOIN artifact_versions v ON v.id = l.artifact_version_id "
                    "JOIN artifacts a ON a.id = v.artifact_id",
                    "l.run_name = ?",
                ),
            )
        )
        ((config,),) = ask("config", "configs")
        found["config"] = json.loads(config)
    saved = directory / "media" / project / "files"
    found["saved"] = sorted(str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file())
    return found


def _with_files(directory: Path, value: Any) -> Any:
    """A stored value, with a file's content for its name."""
    if isinstance(value, list):
        return [_with_files(directory, item) for item in value]
    if isinstance(value, dict):
        value = {key: _with_files(directory, item) for key, item in value.items()}
        if "file_path" in value:
            path = Path(value["file_path"])
            content = (directory / "media" / path).read_text("latin-1")
            value |= {"file_path": path.suffix, "content": content}
    return value
