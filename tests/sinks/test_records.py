"""The schema of records is code: what a real training writes is what :mod:`autolog.sinks` says."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import trackio
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

import autolog
from autolog import MemorySink, sinks
from autolog.capture.figures import Chart
from autolog.core.run import recording_of
from autolog.sinks.identity import Identity
from autolog.sinks.journal import Tail
from tests.programs import journals, run

KINDS: dict[str, Any] = {get_args(get_type_hints(kind)["kind"])[0]: kind for kind in get_args(sinks.Record)}


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as far as records need types."""
    if kind is Any:
        return True
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if origin is list:
        return type(value) is list and all(fits(item, get_args(kind)[0]) for item in value)
    if origin is dict:
        of_key, of_value = get_args(kind)
        pairs = value.items() if type(value) is dict else [(None, None)]
        return all(fits(key, of_key) and fits(item, of_value) for key, item in pairs)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


def wrong_with(record: Any) -> list[str]:
    hints = get_type_hints(KINDS[record["kind"]])
    extras = get_type_hints(KINDS[record["kind"]], include_extras=True)
    needed = {key for key, kind in extras.items() if get_origin(kind) is not NotRequired}
    missing = [f"no {key}" for key in needed - record.keys()]
    unknown = [f"unknown {key}" for key in record.keys() - hints.keys()]
    badly = [
        f"{key}={record[key]!r}" for key in hints.keys() & record.keys() if not fits(record[key], hints[key])
    ]
    return missing + unknown + badly


def everything(run: autolog.Run, folder: Path) -> None:
    file = folder / "weights"
    file.write_text("w")
    run.log({"loss": 1, "nested": {"a": np.float32(2)}}, step=np.int64(3))
    run.log({"list": [1], "text": "x"})
    run.params({"lr": 0.1, "long": "x" * 10_000})
    run.tag("t")
    run.table("t", [{"a": 1}, {"b": None}])
    run.figure("f", Chart("curve", "t", {"series": [], "x_label": "x", "y_label": "y"}), caption="c")
    run.alert("odd")
    run.artifact(file)
    run.artifact(folder, "all", reference=True, aliases=["best"], metadata={"n": 1})
    recording_of(run).system({"cpu/utilization": 1.0})
    run.figure("p", Figure())
    recording_of(run).made("m", "autolog.optuna.figures:parts_of", {"trials": []})
    run.child("child").finish("pruned")


def test_every_record_is_what_its_kind_says(sink: MemorySink, tmp_path: Path) -> None:
    X, y = np.random.default_rng(0).normal(size=(80, 3)), np.arange(80) % 2
    with autolog.enabled("sklearn", sink=sink), autolog.run("r", config={"x": 1}) as run_:
        everything(run_, tmp_path)
        LogisticRegression().fit(X, y).score(X[:40], y[:40])
    with autolog.enabled(sink=sink, server_url="http://127.0.0.1:1"), autolog.run("there") as there:
        there.log({"seen": trackio.Image(np.zeros((4, 4, 3), np.uint8))})
    assert autolog.finish()
    assert {record["kind"] for record in sink.records} == set(KINDS)
    wrong = [(record["kind"], what) for record in sink.records if (what := wrong_with(record))]
    assert wrong == []


@pytest.mark.parametrize(
    "change",
    [{"step": "3"}, {"values": None}, {"more": 1}, {"kind": "chart"}, {"time": None}],
)
def test_what_is_otherwise_is_found(change: dict[str, Any]) -> None:
    row = {"kind": "row", "run": "r", "id": "r-1", "time": 1.0, "step": 3, "values": {"loss": 1.0}}
    assert wrong_with(row) == []
    assert wrong_with({**row, **change})


def test_who_a_run_is_goes_through_a_record_and_comes_back(tmp_path: Path) -> None:
    given = Identity("i", "n", "p", "g", "q", ("space", "u/s"), True, True, 2, True)
    record = {"kind": "open", "run": given.id, "id": "i-1", "time": 1.0, **given.fields()}
    assert wrong_with(record) == []
    assert Identity.of_record(record) == given


def test_a_journal_holds_them_as_they_are(tmp_path: Path) -> None:
    program = """
    from autolog.sinks import channel
    channel.Channel._loop = lambda self: None  # nobody delivers
    r = autolog.run("r", config={"x": 1}).__enter__()
    r.log({"m": 1.5})
    time.sleep(1.0)
    os._exit(0)
    """
    run(tmp_path, program)
    (journal,) = journals(tmp_path)
    first, *records = Tail(journal).read()
    assert (first["kind"], first["run"]) == ("journal", "")
    assert {record["kind"] for record in records} >= {"open", "config", "row"}
    assert [(record["kind"], what) for record in records if (what := wrong_with(record))] == []
