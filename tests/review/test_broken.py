"""What others have written into a database, or what is broken in it: the rest is read all the same."""

from __future__ import annotations

import re
import shutil
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

import autolog
from autolog.cli import main
from autolog.review.differing import code_diff, differences
from autolog.review.listing import Runs
from autolog.review.report import report
from autolog.review.report.story import story_of
from autolog.review.source import Server, SourceError
from tests import programs

AT = "2026-11-30T10:00:00+00:00"
Rows = Iterable[tuple[Any, Any, Any]]


def written(folder: Path, configs: dict[str, str], rows: Rows = (), project: str = "p") -> Path:
    """A database of Trackio's, as any program may have written it: runs by their ids, rows of the first."""
    first = next(iter(configs))
    with closing(sqlite3.connect(folder / f"{project}.db", isolation_level=None)) as database:
        of = "id INTEGER PRIMARY KEY, run_id, run_name"
        database.execute(f"CREATE TABLE configs ({of}, config, created_at)")
        database.execute(f"CREATE TABLE metrics ({of}, timestamp, step, metrics, log_id)")
        database.execute("BEGIN")
        for run, config in configs.items():
            values = run, f"run {run}", config
            database.execute("INSERT INTO configs (run_id, run_name, config) VALUES (?, ?, ?)", values)
        for row in rows:
            into = "INSERT INTO metrics (run_id, run_name, step, timestamp, metrics) VALUES (?, '', ?, ?, ?)"
            database.execute(into, (first, *row))
        database.execute("COMMIT")
    return folder


def looked_at(folder: Path, to: Path) -> Runs:
    """All that can be asked of runs is asked."""
    runs = autolog.runs(at=folder)
    assert repr(runs)
    assert runs._repr_html_()
    assert runs.to_records()
    for run in runs:
        for name in dir(type(run)):
            if not name.startswith("_") and name != "figures":
                getattr(run, name)
        assert repr(run)
        assert run.code() == run.packages() == {}
        story_of(run, run.siblings)
        report(run, to / "one.html")
    if len(runs) > 1:
        differences(runs)
        code_diff(*runs[:2])
        report(list(runs), to / "several.html")
    return runs


@pytest.mark.parametrize(
    "config",
    [
        *("[]", '"text"', "null", "no json", '{"": 1, "params/": 2}'),
        *('{"params": 3}', '{"params": [1, 2], "params/x": {"a": [1]}}', '{"best/params": 5}'),
        *('{"tags": 5}', '{"tags": {"a": 1}}', '{"tags": "abc"}', '{"tags": [1, null]}'),
        *('{"result": [1, 2]}', '{"result": true}', '{"result": {"a": "x", "b": null, "c": [1]}}'),
        *('{"result": {"val/a": "NaN"}}', '{"result": {"val/a": "-Infinity"}}', '{"result": "x"}'),
        *('{"status": 5}', '{"status": ["x"]}', '{"seconds": "x"}', '{"seconds": -5}', '{"seconds": 1e300}'),
        *('{"autolog/notes": "x"}', '{"autolog/notes": [1]}', '{"autolog/notes": {"a": 1}}'),
        *('{"_Created": 1e308}', '{"_Created": {}}', '{"_Created": "9999-12-31T23:59:59+00:00"}'),
        *('{"parent": ["x"]}', '{"parent": {"a": 1}}', '{"parent": "r1"}', '{"parent": "r2"}'),
        *('{"model": {"a": 1}}', '{"data/train": 5}', '{"git/commit": 5}', '{"run/argv": 5}'),
        '{"autolog/overhead_seconds": "x", "autolog/pending": "x", "error": {"a": 1}, "framework": 7}',
    ],
)
def test_a_config_may_be_anything(tmp_path: Path, config: str) -> None:
    sound = '{"result": {"val/a": 0.7}, "params/x": 1, "parent": "r1"}'
    written(tmp_path, {"r1": config, "r2": sound}, [(0, AT, '{"val/a": 0.5}')])
    runs = looked_at(tmp_path, tmp_path)
    assert {run.id for run in runs} == {"r1", "r2"}
    assert runs.get("r1").metrics["val/a"].values == [0.5]
    assert runs.get("last").id in ("r1", "r2")
    assert runs.get("r2").result == {"val/a": 0.7}


@pytest.mark.parametrize(
    "row",
    [
        *("[]", "x", "5", "null", "{}", '{"a": 1}, {"b": 2}', b"\xff\xfe", None),
        *('{"a": {"_type": "trackio.table"}}', '{"a": {"_type": "trackio.table", "_value": [1, {"b": 2}]}}'),
        *('{"a": {"_type": "trackio.image"}}', '{"a": {"_type": "trackio.image", "file_path": 5}}'),
        *('{"a": {"_type": "trackio.markdown"}}', '{"a": {"_type": 5}}', '{"a": [1], "b": true, "c": null}'),
        *('{"a": 1e400}', '{"a": 123456789012345678901234567890}', '{"val/a": "no json'),
    ],
)
def test_a_row_may_be_anything(tmp_path: Path, row: Any) -> None:
    sound = [(1, "no time", '{"val/a": 1}'), (2, AT, b'{"val/a": 2, "said": "x"}'), (2, None, "{}")]
    written(tmp_path, {"r1": "{}"}, [(0, AT, row), *sound])
    (run,) = looked_at(tmp_path, tmp_path)
    assert run.metrics["val/a"].values == [1.0, 2.0]
    assert run.metrics["val/a"].steps == [1, 2]
    assert run.texts["said"] == "x"
    assert autolog.runs(at=tmp_path, where="val/a == 2")[0].id == "r1"
    assert run.figures == {}


def test_a_path_of_a_row_leads_nowhere_else(tmp_path: Path) -> None:
    for path in ("../secret", "/etc/hostname", "x/../../secret", "link/secret"):
        folder = tmp_path / path.replace("/", "-")
        (folder / "media").mkdir(parents=True)
        (folder / "secret").write_text("s")
        (folder / "media" / "link").symlink_to(folder)
        image = f'{{"a": {{"_type": "trackio.image", "file_path": "{path}"}}}}'
        (run,) = autolog.runs(at=written(folder, {"r": "{}"}, [(0, AT, image)]))
        with pytest.raises(SourceError, match="lies outside"):
            run.figures  # noqa: B018


def test_keys_and_ids_may_hold_any_characters(tmp_path: Path) -> None:
    key = "b'q\"x\\"
    row = '{"b\'q\\"x\\\\": 3}'
    written(tmp_path, {"r'1\"; drop": "{}"}, [(0, AT, row)], project="oneill")
    (run,) = autolog.runs("o'neill", at=tmp_path)  # as Trackio calls its file
    assert run.metrics[key].values == [3.0]
    assert autolog.runs(at=tmp_path, sort=key)[0].id == run.id


def test_rows_of_many_kinds_keep_their_order(tmp_path: Path) -> None:
    values = [{"m": n, "v": 1.5} if n % 10 == 0 else {"m": n} for n in range(12_000)]
    rows = [(n, AT, orjson.dumps(row)) for n, row in enumerate(values)]
    (run,) = autolog.runs(at=written(tmp_path, {"r": "{}"}, reversed(rows)))
    assert run.metrics["m"].values == list(range(12_000))
    assert run.metrics["v"].steps == list(range(0, 12_000, 10))
    assert len(run.metrics["v"].times) == 1_200


@pytest.mark.parametrize("content", [b"", b"\0" * 5_000, None])
def test_a_file_that_is_no_database_is_told_or_empty(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "p.db"
    if content is None:
        sqlite3.connect(path).execute("CREATE TABLE x (a)").connection.close()
    else:
        path.write_bytes(content)
    if content and content.strip():
        with pytest.raises(SourceError, match=r"p\.db cannot be read"):
            autolog.runs(at=tmp_path)
    else:
        assert len(autolog.runs(at=tmp_path)) == 0


def test_of_all_projects_one_that_cannot_be_read_is_told_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, {"a": "{}"}, project="whole")
    (tmp_path / "broken.db").write_bytes(b"nonsense" * 1_000)
    with pytest.warns(UserWarning, match=r"broken\.db cannot be read"):
        runs = autolog.runs(at=tmp_path)
    assert [run.project for run in runs] == ["whole"]
    assert main(["ls", "--dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "whole" in out
    assert re.match(r"autolog: .*broken\.db cannot be read: file is not a database\n$", err)


def test_where_kept_code_is_gone_the_rest_is_compared(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        """
        for lr in (0.1, 0.2):
            with autolog.run(f"lr {lr}", config={"params/lr": lr}) as run:
                run.log({"val/loss": lr})
                run.artifact(os.__file__, "code", type="code")
        """,
    )
    shutil.rmtree(tmp_path / "artifacts")
    later, earlier = autolog.runs("p", at=tmp_path)
    assert {d.key for d in differences([earlier, later])} >= {"lr", "val/loss"}
    (line,) = code_diff(earlier, later)
    assert re.match(r"The code cannot be compared: .* is not there any more\.", line)
    assert main(["diff", earlier.id, later.id, "--dir", str(tmp_path)]) == 1


ANSWERS = [
    *(b"", b"{}", b"[]", b"5", b"null", b"<html>", b"\xff\xfe", b'{"data": null}', b'{"data": 5}'),
    *(b'{"data": {"rows": null}}', b'{"data": {"rows": 5, "columns": []}}', b'{"data": [1, null]}'),
    *(b'{"error": {"a": 1}}', b'{"data": {"columns": ["a"], "rows": [{"b": 1}]}}', b'{"data": ["p"]}'),
    b'{"data": {"columns": ["run_id", "run_name", "config"], "rows": [[1, 2, 3]]}}',
]


def test_a_server_may_answer_anything() -> None:
    class Door(BaseHTTPRequestHandler):
        said = b""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.said)))
            self.end_headers()
            self.wfile.write(self.said)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{door.server_port}"
        for Door.said in ANSWERS:
            with pytest.raises(SourceError, match="127"):
                autolog.runs("p", at=url)
            with pytest.raises(SourceError, match="127"):
                Server(("server", url)).media("p", "x.png")
        door.shutdown()
