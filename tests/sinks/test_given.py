"""The same values logged by `trackio.log` and by `run.log`: the database holds the same of both."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trackio
from packaging.version import Version

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from tests.programs import read, run, trackio_server

pytest.importorskip("torch", reason="torch is not installed: its tensors are among the values")
if Version(trackio.__version__) < Version("0.43"):
    pytest.skip("this Trackio takes fewer kinds of values", allow_module_level=True)

SETUP = """
import dataclasses, datetime, decimal, enum, fractions, pathlib, types, uuid
import numpy as np, pandas as pd, torch, trackio
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
figure = Figure(); figure.subplots().plot([1, 2])
plt.plot([1, 2])
pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
png, sound, film = (os.path.join(os.environ["TRACKIO_DIR"], name) for name in ("x.png", "x.wav", "x.mp4"))
Image.fromarray(pixels).save(png)
for path in (sound, film): pathlib.Path(path).write_bytes(b"content")
said = [{"role": "user", "content": "hi", "seen": trackio.Image(png)}]
@dataclasses.dataclass
class Point: x: int = 1
class Colour(enum.Enum): RED = 1
endless = {}; endless["d"] = endless
"""

# What Trackio stores, so do we, in the same form.
TAKEN = {
    "whole": "3",
    "real": "0.5",
    "unsigned": "2**64 - 1",
    "least": "-(2**63)",
    "float32": "np.float32(0.1)",
    "float64": "np.float64(0.1)",
    "int64": "np.int64(3)",
    "uint64": "np.uint64(2**64 - 1)",
    "nan": "float('nan')",
    "infinite": "-np.inf",
    "yes": "True",
    "numpys no": "np.bool_(False)",
    "nothing": "None",
    "text": "'text'",
    "empty text": "''",
    "numpys text": "np.str_('text')",
    "long text": "'word ' * 20_000",
    "text of a number": "'NaN'",
    "list": "[1, 2.5, float('nan'), 'a', None, [True]]",
    "rows": "[{'a': 1}, {'a': 2}]",
    "empty list": "[]",
    "tuple": "(1, np.float32(0.5))",
    "set": "{1}",
    "list of mappings": "[{1: {'b': float('inf')}}]",
    "datetime": "datetime.datetime(2020, 1, 1)",
    "date": "datetime.date(2020, 1, 1)",
    "numpys date": "np.datetime64('2020-01-01')",
    "enum": "Colour.RED",
    "uuid": "uuid.UUID(int=1)",
    "dataclass": "Point()",
    "in trackio's form": "{'_type': 'trackio.markdown', '_value': '# x'}",
    "table": "trackio.Table(data=[[1, 'a', None], [float('nan'), 'b', True]], columns=['n', 's', 'x'])",
    "table without heads": "trackio.Table(data=[[1, 2]])",
    "table of a frame": "trackio.Table(dataframe=pd.DataFrame({'a': [1.0, 2.0]}))",
    "table with pictures": "trackio.Table(data=[[trackio.Image(png), [trackio.Image(pixels)]]])",
    "image": "trackio.Image(pixels, caption='c')",
    "image of a file": "trackio.Image(png)",
    "audio": "trackio.Audio(sound)",
    "video": "trackio.Video(film)",
    "html": "trackio.Html('<b>x</b>', caption='c')",
    "markdown": "trackio.Markdown('# x')",
    "histogram": "trackio.Histogram([1, 2, 3.0], num_bins=2)",
    "trace": "trackio.Trace(said, metadata={'a': 1})",
    "traces": "[trackio.Trace(said), trackio.Trace(said)]",
    "figure": "figure",
    "pyplot": "plt",
    "step": "5",
    "__x": "'reserved'",
}
# Numbers that Trackio leaves out.
NUMBERS = {
    "array": "np.array(0.5)",
    "array of one": "np.array([0.5])",
    "tensor": "torch.tensor(0.5, requires_grad=True)",
    "tensor of one": "torch.tensor([0.5])",
    "series of one": "pd.Series([0.5])",
    "decimal": "decimal.Decimal('0.5')",
    "fraction": "fractions.Fraction(1, 2)",
}
# What nobody takes, and what the warning says to use.
REFUSED = {
    "many": ("np.ones(3)", "tolist()"),
    "tensors": ("torch.ones(3)", "tolist()"),
    "series": ("pd.Series([1, 2])", "tolist()"),
    "frame": ("pd.DataFrame({'a': [1]})", "run.table('frame', value)"),
    "moment": ("pd.Timestamp('2020')", "str(value)"),
    "timedelta": ("datetime.timedelta(1)", "str(value)"),
    "complex": ("1j", "str(value)"),
    "bytes": ("b'a'", "str(value)"),
    "path": ("pathlib.Path('/a')", "run.artifact"),
    "object": ("object()", "str(value)"),
    "function": ("len", "str(value)"),
    "picture": ("Image.open(png)", "trackio.Image(value)"),
    "pictures": ("[trackio.Image(png)]", "under a name of its own"),
    "half a letter": ("'a\\ud800'", "errors="),
    "list of objects": ("[object()]", "under a name of its own"),
    "table of objects": ("trackio.Table(data=[[object()]])", "run.table('table of objects', ...)"),
    "broken file": ("trackio.Image(gone)", "str(value)"),
    "endless list": ("loop", "under a name of its own"),
}

Stored = dict[str, Any]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Stored, Stored]:
    """What a program has written that logs everything by both, and what stands in the database then."""
    directory = tmp_path_factory.mktemp("trackio")
    values = TAKEN | NUMBERS | {key: value for key, (value, _) in REFUSED.items()}
    said = run(
        directory,
        SETUP
        + f"""
gone = os.path.join(os.environ["TRACKIO_DIR"], "gone.png"); Image.fromarray(pixels).save(gone)
loop = []; loop.append(loop)
made = [{{key: eval(text) for key, text in {values!r}.items()}} for _ in range(2)]
os.unlink(gone)
import warnings
warnings.simplefilter("ignore")
trackio.init(project="p", name="bare", auto_log_gpu=False, auto_log_cpu=False)
for _ in range(2): trackio.log(made[0])
trackio.finish()
with autolog.run("ours") as r:
    for _ in range(2): r.log(made[1])
    r.log(endless | {{"after": 1}})
assert autolog.finish()
""",
    )
    return directory, said, in_database(directory, "bare"), in_database(directory, "ours")


def in_database(directory: Path, name: str) -> Stored:
    """All values of the first step, raw; traces as their table has them."""
    with contextlib.closing(sqlite3.connect(directory / "p.db")) as database, database:
        rows = database.execute("SELECT metrics FROM metrics WHERE run_name = ? AND step = 0", [name])
        stored = {key: value for (row,) in rows for key, value in json.loads(row).items()}
        columns = "key, trace_index, messages, metadata, spans"
        for key, index, *rest in database.execute(
            f"SELECT {columns} FROM traces WHERE run_name = ? AND step = 0 ORDER BY key, trace_index", [name]
        ):
            stored[f"{key}:{index}"] = [json.loads(part) for part in rest]
    return stored


def with_files(directory: Path, value: Any) -> Any:
    """Stored values, with the contents of files for their names."""
    if isinstance(value, list):
        return [with_files(directory, item) for item in value]
    if isinstance(value, dict):
        value = {key: with_files(directory, item) for key, item in value.items()}
        if "file_path" in value:
            path = Path(value["file_path"])
            assert path.parts[0] == "p"
            value |= {"file_path": path.suffix, "content": (directory / "media" / path).read_text("latin-1")}
    return value


@pytest.mark.slow
@pytest.mark.parametrize("key", TAKEN)
def test_what_trackio_stores_is_stored_in_the_same_form(
    logged: tuple[Path, str, Stored, Stored], key: str
) -> None:
    directory, _, bare, ours = logged
    key = {"step": "__step", "__x": "____x"}.get(key, key)
    keys = {"trace": ["trace:None"], "traces": ["traces:0", "traces:1"]}.get(key, [key])
    for key in keys:
        one, other = (with_files(directory, stored[key]) for stored in (bare, ours))
        if key in ("figure", "pyplot"):  # each draws it its own way
            assert "<svg" in one.pop("content")
            assert "<svg" in other.pop("content")
        assert json.dumps(one) == json.dumps(other)  # True is no 1


def test_nothing_else_is_stored(logged: tuple[Path, str, Stored, Stored]) -> None:
    _, _, bare, ours = logged
    assert ours.keys() - bare.keys() == NUMBERS.keys()
    assert bare.keys() - ours.keys() == set()


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_that_trackio_does_not_know_is_a_number(
    logged: tuple[Path, str, Stored, Stored], key: str
) -> None:
    _, _, bare, ours = logged
    assert key not in bare
    assert ours[key] == 0.5


@pytest.mark.parametrize("key", REFUSED)
def test_what_nobody_takes_is_left_out_with_one_warning_and_a_note(
    logged: tuple[Path, str, Stored, Stored], key: str
) -> None:
    directory, said, bare, ours = logged
    assert key not in bare
    assert key not in ours
    (line,) = [line for line in said.splitlines() if line.startswith(f"autolog: {key} of run ours")]
    assert REFUSED[key][1] in line
    (config,) = [run["config"] for run in read(directory) if run["name"] == "ours"]
    assert REFUSED[key][1] in config["autolog/notes"][key]


def test_a_mapping_without_an_end_ends_no_training(logged: tuple[Path, str, Stored, Stored]) -> None:
    directory, said, _, _ = logged
    assert "it has no end" in said
    assert "Traceback" not in said
    (ours,) = [run for run in read(directory) if run["name"] == "ours"]
    assert ours["logs"][-1]["after"] == 1


def test_names_of_nested_mappings_are_joined_whatever_is_in_them(sink: MemorySink) -> None:
    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    try:
        with autolog.run() as run:
            run.log({"a": {"text": "x", "b": {"list": [1, 2], "n": np.float32(2)}}})
    finally:
        settings_module.use(None)
    assert sink.runs[0].rows == [(0, {"a/text": "x", "a/b/list": [1, 2], "a/b/n": 2.0})]


PNG = """
import numpy as np, trackio
with autolog.run("r") as r:
    table = trackio.Table(data=[[trackio.Image(np.zeros((4, 4, 3), np.uint8))]], columns=["seen"])
    trace = trackio.Trace([{"role": "user", "content": "hi"}])
    image = trackio.Image(np.ones((4, 4, 3), np.uint8))
    r.log({"image": image, "t": table, "trace": trace, "l": [1]}, step=7)
assert autolog.finish()
"""


def test_media_arrive_at_a_server_under_the_names_that_the_row_has(tmp_path: Path) -> None:
    there = tmp_path / "there"
    with trackio_server(there, "s3cret") as url:
        run(tmp_path / "here", PNG, TRACKIO_SERVER_URL=f"{url}?write_token=s3cret")
    (kept,) = read(there)
    row = next(row for row in kept["logs"] if "image" in row)
    for shown in (row["image"], row["t"]["_value"][0]["seen"]):
        assert (there / "media" / shown["file_path"]).read_bytes()[1:4] == b"PNG"
    assert (row["step"], row["l"]) == (7, [1])
    assert kept["config"].get("autolog/lost") is None
    with contextlib.closing(sqlite3.connect(there / "p.db")) as database, database:
        assert database.execute("SELECT key, step FROM traces").fetchall() == [("trace", 7)]


def test_where_locks_mean_nothing_it_is_the_same(tmp_path: Path) -> None:
    run(tmp_path, PNG, TRACKIO_STORAGE_MODE="jsonl")
    (kept,) = read(tmp_path, inbox=True)
    row = next(row for row in kept["logs"] if "image" in row)
    assert (tmp_path / "media" / row["image"]["file_path"]).exists()
    assert row["l"] == [1]
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as database, database:
        assert database.execute("SELECT key, step FROM traces").fetchall() == [("trace", 7)]
