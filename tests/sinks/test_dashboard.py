"""Whatever is recorded, the dashboard opens: what it asks is answered, for names and values of any kind."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.programs import run, trackio_server

PROGRAM = r"""
import dataclasses, decimal, enum, fractions
import numpy as np, pydantic
from matplotlib.figure import Figure
from autolog.capture.figures import Chart
from autolog.core.run import recording_of

@dataclasses.dataclass
class Point:
    x: float = 1.0
    inner: object = None

class Model(pydantic.BaseModel):
    rate: float = 0.1
    tags: list[str] = ["a"]

class Colour(enum.Enum):
    RED = 1

class Hostile:
    def __repr__(self): raise RuntimeError("no")
    __str__ = __repr__
    def __len__(self): raise RuntimeError("no")
    def __bool__(self): raise RuntimeError("no")

cycle = {}; cycle["again"] = [cycle]
deep = []
for _ in range(500): deep = [deep]
values = {
    "nan": float("nan"), "inf": float("inf"), "-inf": -float("inf"), "big": 10**400, "64": 2**64,
    "neg": -2**63 - 1, "text": "x" * 10_000_000, "bytes": b"\x00\xff" * 100, "emoji": "🎉" * 100,
    "surrogate": "\ud800", "nul": "a\x00b", "scalar": np.float32(1.5), "int": np.int64(3),
    "array": np.arange(10), "huge": np.zeros((1000, 1000)), "date": np.datetime64("2020-01-01"),
    "complex": 1 + 2j, "decimal": decimal.Decimal("1.5"), "fraction": fractions.Fraction(1, 3),
    "set": {1, "a"}, "dataclass": Point(inner=Point()), "pydantic": Model(), "enum": Colour.RED,
    "hostile": Hostile(), "cycle": cycle, "deep": deep, "lambda": lambda x: x, "class": Point, "module": os,
    "path": __import__("pathlib").Path("/x"), "generator": (n for n in range(3)),
    "wide": {n: n for n in range(5_000)}, "html": "<script>document.title='broken'</script>",
    "quote": "'; drop table metrics; --", "": "no name", 1: "a number", None: "none", ("a", 1): "a tuple",
    "a/b/c": 1, "__proto__": 1, "constructor": 1, "$x": 1, "_private": 1,
}
NAMES = [
    "../../etc/passwd", "a/b", "🎉 語", "x" * 5_000, "\ud800", "nul\x00", "<b>bold</b>", "'; --", "  ",
    ".", "..", "%2e%2e", "con", "new\nline", "__proto__", "a\\b", "?q=1&r=2#h", '"quoted"',
]
line = {"name": "s", "x": [0, 1], "y": [0.0, float("nan")]}
for name in NAMES:
    with autolog.run(name, group=name, tags=[name]) as r:
        r.params(values)
        recording_of(r).describe({name: values})
        for n, loss in enumerate([1.0, float("nan"), float("-inf")]):
            r.log({"loss": loss, name: n, "epoch": n, "time": n, "step": n, "": 1.0})
        r.log({"only-nan": float("nan")}); r.log({"huge": 10**400}); r.log({"f16": np.float16(1)})
        r.table(name, [{name: value, "v": value} for value in values.values()])
        chart = Chart("curve", name, {"series": [line], "x_label": name, "y_label": name})
        r.figure(name, chart, caption=name)
        r.alert(name, name)
        open("file", "w").write(name.encode("utf-8", "replace").decode())
        r.artifact("file", name)
        recording_of(r).system({"cpu/utilization": 1.0})
print(len(NAMES), "runs,", autolog.finish())
"""

OF_PROJECT = [
    "get_runs_for_project",
    "get_project_summary",
    "get_run_configs",
    "get_tab_availability",
    "get_artifacts",
    "get_run_artifact_counts",
    "get_alerts",
]
OF_RUN = ["get_run_summary", "get_logs", "get_metrics_for_run", "get_system_logs", "get_run_artifacts"]


def ask(url: str, name: str, **arguments: Any) -> Any:
    """What the dashboard's page asks, and reads as a browser does: JavaScript's JSON knows no NaN."""
    request = urllib.request.Request(
        f"{url}/api/{name}",
        data=json.dumps({"kwargs": arguments}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        text = urllib.request.urlopen(request, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        pytest.fail(f"{name} {arguments}: {error.read().decode()}")
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{name}: {word} is no JSON"))["data"]


@pytest.mark.slow
def test_the_dashboard_opens_whatever_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    out = run(store, PROGRAM)
    assert "18 runs, True" in out
    with trackio_server(store, "token") as url:
        assert ask(url, "get_all_projects") == ["p"]
        for name in OF_PROJECT:
            assert ask(url, name, project="p"), name
        runs = ask(url, "get_runs_for_project", project="p")
        assert len(runs) == 18
        for one in runs:
            for name in OF_RUN:
                assert ask(url, name, project="p", run=one["name"], run_id=one["id"]), (name, one)
            logs = ask(url, "get_logs", project="p", run=one["name"], run_id=one["id"])
            pictures = [
                value["file_path"]
                for row in logs
                for value in row.values()
                if isinstance(value, dict) and value.get("_type") == "trackio.html"
            ]
            assert len(pictures) == 1
            path = urllib.parse.quote(str(store / "media" / pictures[0]))
            assert b"<svg" in urllib.request.urlopen(f"{url}/file?path={path}", timeout=60).read()
        configs = ask(url, "get_run_configs", project="p")
        assert all(config["status"] == "finished" for config in configs.values())
        assert all("autolog/lost" not in config for config in configs.values())
    outside = {path.name for path in tmp_path.iterdir()} - {"store", "file"}
    assert outside == set(), "a name led out of the store"
