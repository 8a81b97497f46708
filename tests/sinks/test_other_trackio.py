"""Other versions of Trackio than we know: slower, complete, and said.

The installed one with a piece renamed everywhere, in copies beside it: whatever calls it in there still does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import trackio

from tests.programs import READER, environment, run, values

COLUMN = {"log_id": "uid"}
SIGNATURE = {"log_ids": "uids"}

# What is renamed, and by what it is stored then; None: as ever.
MUTATIONS: dict[str, tuple[dict[str, str], str | None]] = {
    "a column": (COLUMN, "its table metrics has no column log_id. It was stored by Trackio's own functions"),
    "a signature": (SIGNATURE, None),
    "a column and a signature": (
        {**COLUMN, **SIGNATURE},
        "its bulk_log takes no log_ids. It was stored by trackio.init and trackio.log",
    ),
    "the function that makes a file": ({"init_db": "make_file"}, "It was stored by Trackio's own functions"),
    "the function that says how it stores": ({"get_storage_mode": "storage_mode"}, "by trackio.init"),
    "the function that stores artifacts": ({"commit_artifact_version": "commit_version"}, None),
    "the function that finds media": ({"get_project_media_path": "media_path"}, None),
}

PROGRAM = """
import pathlib
file = pathlib.Path(os.environ["TRACKIO_DIR"], "weights.bin"); file.write_bytes(b"123")
with autolog.run("r", project="p", config={"x": 1}) as r:
    for n in range(3): r.log({"m": n / 2, "nan": float("nan")}, step=10 * n)
    r.table("t", [{"a": 1}, {"a": 2}])
    r.log({"note": "a text"}, step=40)
    r.alert("careful", "it is a test")
    r.artifact(file, "weights", type="model")
    r.params({"depth": 3})
print("finished", autolog.finish())
with autolog.run("after", project="p") as r: r.log({"m": 1.0})
print("finished", autolog.finish())
"""


def renamed(names: dict[str, str], directory: Path) -> Path:
    """A copy of Trackio in which names are others."""
    ours = Path(trackio.__file__).parent
    for path in ours.rglob("*.py"):
        copy = directory / "trackio" / path.relative_to(ours)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        for old, new in names.items():
            text = re.sub(rf"\b{old}\b", new, text)
        copy.write_text(text)
    for path in ours.iterdir():  # the pages, which it looks for when it is imported
        if not (directory / "trackio" / path.name).exists() and path.name != "__pycache__":
            os.symlink(path, directory / "trackio" / path.name)
    for info in ours.parent.glob("trackio-*.dist-info"):
        shutil.copytree(info, directory / info.name)
    return directory


@pytest.mark.parametrize("what", MUTATIONS)
@pytest.mark.long
def test_a_piece_that_has_another_name(tmp_path: Path, what: str) -> None:
    names, how = MUTATIONS[what]
    other = renamed(names, tmp_path / "other")
    directory = tmp_path / "trackio"
    directory.mkdir()
    paths = os.pathsep.join([str(other), os.environ.get("PYTHONPATH", "")])
    out = run(directory, PROGRAM, PYTHONPATH=paths)
    assert out.count("finished True") == 2, out
    assert "Traceback" not in out
    reader = [sys.executable, "-c", READER, "p"]  # by the same version
    found = subprocess.run(
        reader, env=environment(directory, PYTHONPATH=paths), capture_output=True, check=True
    )
    kept = {one["name"]: one for one in orjson.loads(found.stdout)}
    assert kept.keys() == {"r", "after"}
    r = kept["r"]
    assert [(row["step"], row["m"]) for row in r["logs"] if "m" in row] == [(0, 0.0), (10, 0.5), (20, 1.0)]
    assert values(r, "note") == ["a text"]
    assert [row["a"] for row in values(r, "t")[0]["_value"]] == [1, 2]
    assert [alert["title"] for alert in r["alerts"]] == ["careful"]
    assert [artifact["name"] for artifact in r["artifacts"]["output"]] == ["weights"]
    config: dict[str, Any] = r["config"]
    assert (config["status"], config["x"], config["params"]) == ("finished", 1, {"depth": 3})
    assert "autolog/lost" not in config
    if how is None:
        assert "storage" not in config.get("autolog/notes", {})
        assert "not as autolog knows it" not in out
    else:
        assert how in config["autolog/notes"]["storage"]
        assert out.count("not as autolog knows it") == 1
        assert how in out
