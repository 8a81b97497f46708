"""Where a process may be left behind, and where none outlives the program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autolog.process import outliving
from autolog.process.outliving import why_none_outlives

HERE = Path("/home/somebody/trackio")


@pytest.fixture(autouse=True)
def at_a_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pytest, no job, no unit, no container; each test adds one of them."""
    monkeypatch.delitem(outliving._JOBS, "PYTEST_CURRENT_TEST")  # set anew by each step of a test
    for name in outliving._JOBS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "pytest")
    monkeypatch.setattr(outliving, "_systemd_unit", lambda: None)
    monkeypatch.setattr(outliving, "_is_in_a_container", lambda: False)


def test_at_a_desk_one_may_be_left() -> None:
    assert why_none_outlives(HERE) is None


@pytest.mark.parametrize("variable", sorted({*outliving._JOBS} - {"PYTEST_CURRENT_TEST"}))
def test_in_a_job_none_is_left(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert variable in str(why_none_outlives(HERE))
    monkeypatch.setenv(variable, "false")
    assert why_none_outlives(HERE) is None


def test_under_pytest_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", pytest)
    assert why_none_outlives(HERE) == "pytest"


@pytest.mark.parametrize("folder", ["/tmp/x", "/var/tmp", "/dev/shm/a/b"])
def test_for_a_temporary_directory_none_is_left(folder: str) -> None:
    assert "temporary" in str(why_none_outlives(Path(folder)))


def test_a_folder_that_only_begins_like_a_temporary_one_stays() -> None:
    assert why_none_outlives(Path("/tmpfiles/x")) is None


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        ("0::/system.slice/train.service\n", "train.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/nightly.service\n", "nightly.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n", None),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        ("9:name=systemd:/\n0::/\n", None),
    ],
)
def test_a_unit_is_the_innermost_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str, unit: str | None
) -> None:
    monkeypatch.undo()
    (tmp_path / "cgroup").write_text(groups)
    monkeypatch.setattr(outliving, "GROUPS", tmp_path / "cgroup")
    assert outliving._systemd_unit() == unit


def test_in_a_container_it_depends_on_who_has_started_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliving, "_is_in_a_container", lambda: True)
    monkeypatch.setattr(outliving, "_ancestors", lambda: [40, 7, 1])
    assert "container" in str(why_none_outlives(HERE))
    monkeypatch.setattr(outliving, "_ancestors", lambda: [40, 7])  # by `docker exec`: from outside
    assert why_none_outlives(HERE) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc tells who has started whom")
def test_ancestors_go_up_to_the_first_process() -> None:
    import psutil

    found = list(outliving._ancestors())
    assert found[1:] == [process.pid for process in psutil.Process().parents()]
