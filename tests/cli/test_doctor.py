"""``autolog doctor``: what is in order is said to be, what is not has its remedy, and no secret is told."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from autolog.review import health
from tests import programs
from tests.cli.conftest import Called


def left_behind(directory: Path, to: list[str], version: int = 3, host: str = "") -> Path:
    """A journal of a process that is gone."""
    folder = directory / "autolog-data" / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    host = host or "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40]
    path = folder / f"{host}-{2**22 + 1}-ab12.jsonl"  # more than any process has
    path.write_bytes(orjson.dumps({"kind": "journal", "run": "", "to": to, "version": version}) + b"\n")
    return path


def test_what_is_in_order_is_said_to_be(
    told: Any, call: Called, trackio_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", "sesame-open-1")
    found = {one["what"]: one for one in told("doctor", "optuna")}
    assert {one["state"] for one in found.values()} <= {"ok", "missing"}
    assert "hooks in" in found["optuna"]["said"]
    assert "tested up to" in found["optuna"]["said"]
    assert "sklearn" not in found
    assert "straight into its tables" in found["Trackio"]["said"]
    assert str(trackio_dir) in found["directory"]["said"]
    assert found["TRACKIO_WRITE_TOKEN"]["said"] == "***"
    assert all(one["remedy"] for one in found.values() if one["state"] != "ok")
    code, _, said = call("doctor", "nonsense")
    assert (code, "no framework nonsense, but sklearn, keras" in said) == (2, True)


def test_what_is_wrong_has_its_remedy_and_a_report_names_nobody(tmp_path: Path) -> None:
    left_behind(tmp_path, ["server", "http://127.0.0.1:9"])
    (tmp_path / "broken.db").write_bytes(b"nonsense" * 1_000)
    url = f"http://127.0.0.1:{programs.free_port()}/?write_token=sesame-open-1"
    home = {"HOME": str(tmp_path.parent), "AUTOLOG_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "autolog", "doctor", "zenml", "--report"],
        env=programs.environment(tmp_path, TRACKIO_SERVER_URL=url, **home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    rows = [[cell.strip() for cell in line.split(" | ")] for line in done.stdout.splitlines()]
    found = {row[1]: (row[0].lstrip("| "), row[2], row[3].rstrip("| ")) for row in rows[2:]}
    assert found["left"][::2] == ("wrong", "`autolog sync`")
    assert found["project"][0] == "wrong"
    assert "file is not a database" in found["project"][1]
    assert "1 journal for http://127.0.0.1:9" in found["left"][1]
    assert found["server"][0] == "wrong"
    assert "does not answer" in found["server"][1]
    assert found["settings"][::2] == ("wrong", "`unset AUTOLOG_DISABLE`")
    assert "write_token=***" in found["TRACKIO_SERVER_URL"][1]
    for secret in ("sesame", str(tmp_path.parent), socket.gethostname()):
        assert secret not in done.stdout


def test_a_directory_that_cannot_be_made_and_a_setting_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(health, "data_directory", lambda: tmp_path / "file" / "trackio")
    (found,) = health._directory()
    assert (found.state, found.remedy[:18]) == ("wrong", "export TRACKIO_DIR")
    monkeypatch.setenv("AUTOLOG_BUDGET", "much")
    *_, found = health._variables()
    assert found.state == "wrong"
    assert "AUTOLOG_BUDGET='much': expected a number" in found.said
    assert list(health._server()) == []


def test_a_server_is_asked_whether_the_token_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with programs.trackio_server(tmp_path, "right") as url:
        for token, state in (("right", "ok"), ("false", "wrong")):
            monkeypatch.setenv("TRACKIO_SERVER_URL", f"{url}?write_token={token}")
            assert [(one.what, one.state) for one in health._server()] == [("server", "ok"), ("token", state)]
        monkeypatch.setenv("GRADIO_SERVER_PORT", url.rpartition(":")[2])
        assert health.dashboard(tmp_path) == url
        assert health.dashboard(tmp_path.parent) is None  # it shows another folder


def test_names_of_hosts_and_users_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "prod-7")
    monkeypatch.setattr(health.getpass, "getuser", lambda: "alice")
    said = "prod-7: /data/alice/x, https://track.acme.org:8080/a, http://127.0.0.1:7860, malice"
    expected = "<host>: /data/<user>/x, https://<host>:8080/a, http://127.0.0.1:7860, malice"
    assert health.without_names(said) == expected
