"""What is written out is read back by the libraries of each format, and holds every number."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas
import pytest
from rocrate.rocrate import ROCrate

import autolog
from autolog.review.listing import Runs
from autolog.review.recorded import RecordedRun
from tests import programs


@pytest.fixture
def runs(project: str) -> Runs:
    return autolog.runs(project)


def numbers(runs: Runs) -> dict[tuple[str, str, int], float]:
    return {
        (run.id, key, place): value
        for run in runs
        for key, series in run.metrics.items()
        for place, value in enumerate(series.values)
    }


def same(found: dict[Any, float], expected: dict[Any, float]) -> bool:
    alike = {key for key in expected if key in found and math.isnan(found[key]) == math.isnan(expected[key])}
    return found.keys() == expected.keys() == alike and all(
        found[key] == expected[key] for key in expected if not math.isnan(expected[key])
    )


def of_long_table(rows: pandas.DataFrame) -> dict[tuple[str, str, int], float]:
    found: dict[tuple[str, str, int], float] = {}
    for (run, key), of in rows.groupby(["run_id", "key"], sort=False):
        found |= {(run, key, place): float(value) for place, value in enumerate(of["value"])}
    return found


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_tables_hold_every_number_with_all_of_its_digits(runs: Runs, tmp_path: Path, to: str) -> None:
    folder = autolog.export(runs, tmp_path / "out", to=to)
    read: Any = pandas.read_csv if to == "csv" else pandas.read_parquet
    exactly = {"float_precision": "round_trip"} if to == "csv" else {}
    rows = read(folder / f"metrics.{to}", **exactly)
    assert same(of_long_table(rows), numbers(runs))
    loss = runs.get("by hand").metrics["train/loss"]
    mine = rows[(rows["key"] == "train/loss") & (rows["run"] == "by hand")]
    assert (list(mine["step"]), list(mine["time"])) == (loss.steps, loss.times)
    table = read(folder / f"runs.{to}", **exactly).set_index("id")
    assert set(table["status"]) == {"finished", "failed"}
    for run in runs:
        row = table.loc[run.id]
        assert row["started"] == run.started
        assert all(row[key] == value for key, value in run.result.items())
        assert json.loads(row["config"])["status"] == run.status
        if "max_depth" in run.params:
            assert row["params/max_depth"] == run.params["max_depth"]
    (sizes,) = (folder / "tables" / "by_hand").glob("*")
    assert read(sizes).to_dict("records") == [{"a": 1, "b": "x"}]


def test_a_document_holds_all_of_it(runs: Runs, tmp_path: Path) -> None:
    path = autolog.export(runs, tmp_path / "runs.json", to="json")
    told = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)["runs"]
    found = {
        (run["id"], key, place): float(value)
        for run in told
        for key, series in run["metrics"].items()
        for place, value in enumerate(series["values"])
    }
    assert same(found, numbers(runs))
    by_hand = next(run for run in told if run["name"] == "by hand")
    assert by_hand["tables"] == {"sizes": [{"a": 1, "b": "x"}]}
    assert by_hand["params"] == {"lr": 0.1}
    assert by_hand["children"] == [runs.get("below").id]


def test_a_crate_says_what_was_given_and_made(runs: Runs, tmp_path: Path) -> None:
    chosen = [runs.get("depth=3"), *[run for run in runs if run.status == "failed"]]
    folder = autolog.export(chosen, tmp_path / "crate", to="ro-crate")
    crate = ROCrate(folder)
    assert crate.root_dataset["conformsTo"].id == "https://w3id.org/ro/wfrun/process/0.5"
    deep, failed = crate.root_dataset["mentions"]
    assert [of.type for of in (deep, failed)] == ["CreateAction", "CreateAction"]
    assert deep["name"] == chosen[0].name
    given = {one["name"]: one.get("value") for one in deep["object"]}
    assert given["max_depth"] == 3
    assert any(name.startswith("data/") for name in given)
    made = {one["name"]: one for one in deep["result"]}
    assert all(made[key]["value"] == value for key, value in chosen[0].result.items())
    assert (folder / made["model-DecisionTreeClassifier: model.pkl"].id).stat().st_size > 0
    assert "SoftwareApplication" in str(deep["instrument"].type) or "SourceCode" in str(
        deep["instrument"].type
    )
    assert deep["endTime"] > deep["startTime"]
    assert failed["actionStatus"].endswith("FailedActionStatus")
    assert "max_depth" in failed["error"]
    for one in crate.data_entities:
        assert (folder / unquote(one.id)).is_file(), one.id
    with (folder / "data" / "metrics.csv").open(encoding="utf-8") as file:
        values = sum(len(series) for run in chosen for series in run.metrics.values())
        assert len(list(csv.DictReader(file))) == values


def test_columns_of_several_types_and_large_numbers_are_texts_in_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet

    from autolog.review.export.tables import _write_parquet

    mixed = {
        "a": [1, "x", None],
        "b": [1, 2.5, None],
        "e": [2**60 + 1, 2.5, None],
        "c": [2**70, 1, None],
        "d": [[1], None, {"k": 1}],
    }
    _write_parquet(mixed, tmp_path / "t.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pydict() == {
        "a": ["1", "x", None],
        "b": [1.0, 2.5, None],
        "e": [str(2**60 + 1), "2.5", None],
        "c": [str(2**70), "1", None],
        "d": ["[1]", None, '{"k":1}'],
    }


def test_odd_names_lose_nothing(tmp_path: Path) -> None:
    long, tables = "表" * 95, {"x_y": 1, "x/y": 2, "x_y-2": 3, "X_Y": 4, "é": 5, "e\u0301": 6, "..": 7}
    (tmp_path / "trackio").mkdir()
    programs.run(
        tmp_path / "trackio",
        f"""
        import pathlib
        os.chdir(os.environ["TRACKIO_DIR"])
        with autolog.run("odd") as run:
            for n, name in enumerate(["weights", "weights", "figures", "report.html"]):
                path = pathlib.Path(str(n)) / "file.txt"
                path.parent.mkdir()
                path.write_text(f"number {{n}}")
                run.artifact(path, name)
            for name, value in { ({**tables, long: 8})!r}.items():
                run.table(name, [{{"n": value}}])
            run.log({{"tags": 4.5, "notes": 2.5}})
        """,
        AUTOLOG_DETACH="0",
    )
    run = autolog.runs(at=tmp_path / "trackio").get("odd")
    assert len(run.tables) == 8
    folder = autolog.export(run, tmp_path / "out", to="csv")
    written = [pandas.read_csv(path)["n"][0] for path in (folder / "tables" / "odd").iterdir()]
    assert sorted(written) == list(range(1, 9))
    on_any_disk = {unicodedata.normalize("NFC", path.name).casefold() for path in folder.rglob("*.csv")}
    assert len(on_any_disk) == 10
    table = pandas.read_csv(folder / "runs.csv")
    assert (table["result/tags"][0], table["result/notes"][0]) == (4.5, 2.5)
    assert table["tags"][0] == "[]"
    crate = autolog.export(run, tmp_path / "crate", to="ro-crate")
    for copies in (crate.rglob("file.txt"), run.files(tmp_path / "files")):
        assert sorted(path.read_text() for path in copies) == [f"number {n}" for n in range(4)]


def test_a_run_whose_id_leads_elsewhere_stays_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "trackio"
    programs.run(folder, 'with autolog.run("one") as run: run.log({"m": 1.0})', AUTOLOG_DETACH="0")
    with sqlite3.connect(folder / "p.db") as connection:
        for table in ("configs", "metrics"):
            connection.execute(f"UPDATE {table} SET run_id = '../../../away'")
    crate = autolog.export(autolog.runs(at=folder), tmp_path / "a" / "b", to="ro-crate")
    assert {path.name for path in tmp_path.iterdir()} == {"trackio", "a"}
    assert [path.name for path in (crate / "runs").iterdir()] == ["away"]
    ROCrate(crate)


def test_an_empty_folder_is_filled_and_stays(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    autolog.export(runs, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"runs.csv", "metrics.csv", "tables"}
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    autolog.export(runs, ".")
    assert Path("runs.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "link", "here"}


def test_what_is_there_is_left_alone_and_nothing_half_written(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        autolog.export(runs, tmp_path / "out")
    with pytest.raises(FileExistsError, match="is a folder"):
        autolog.export(runs, tmp_path / "out", to="json")
    with pytest.raises(ValueError, match="to='xlsx': expected one of csv, parquet"):
        autolog.export(runs, tmp_path / "new", to="xlsx")
    with pytest.raises(ValueError, match="export: no run was given"):
        autolog.export([], tmp_path / "new")
    with pytest.raises(TypeError, match="no run that was read back"):
        autolog.export(["last"], tmp_path / "new")  # type: ignore[list-item]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RecordedRun, "params", property(interrupted))
    with pytest.raises(KeyboardInterrupt):
        autolog.export(autolog.runs(runs[0].project), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
