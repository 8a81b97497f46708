"""Whether and where this process records: sinks of the user's own, patience, privacy."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import opening, outlet
from autolog.sinks import Record, Sink
from tests.programs import run as run_program


class Lines(Sink):
    """A user's own sink: what it inherits answers for what it does not say."""

    def __init__(self, folder: Path, arrives: bool = True):
        self.folder, self.arrives = folder, arrives
        self.records: list[Record] = []
        self.asked: list[float] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def stage(self, run_id: str) -> Path:
        return self.folder

    def sync(self, timeout: float) -> bool:
        return True

    def deliver(self, timeout: float) -> bool:
        self.asked.append(timeout)
        return self.arrives


@pytest.mark.parametrize("arrives", [True, False])
def test_a_sink_of_the_users_own_is_all_that_is_needed(tmp_path: Path, arrives: bool) -> None:
    sink = Lines(tmp_path, arrives)
    with autolog.enabled(sink=sink, log_code=False, finish_timeout=300.0):
        with autolog.run("r") as run:
            run.log({"loss": 1.0})
            assert run.url is None
        assert autolog.finish() is arrives
    assert [record["kind"] for record in sink.records] == [
        "open",
        "config",
        "row",
        "config",
        "config",
        "finish",
    ]
    assert len(sink.asked) == 1
    assert 100.0 < sink.asked[0] <= 300.0  # whatever finish() has done before it asks


class Bare:
    """Has the methods, and inherits from nobody."""

    write = stage = sync = deliver = url = sample_system = lambda self, *given: None


def test_what_a_sink_must_be_able_to_do_is_what_is_called(tmp_path: Path) -> None:
    assert autolog.Settings(sink=Bare())
    with pytest.raises(autolog.SettingError, match="It has no url, sample_system"):
        autolog.Settings(sink=type("Four", (), dict.fromkeys(("write", "stage", "sync", "deliver"), print))())
    with pytest.raises(autolog.SettingError, match="MemorySink"):
        autolog.Settings(sink=Lines)  # a class


def test_a_sink_that_fails_keeps_the_others_from_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Lines):
        def deliver(self, timeout: float) -> bool:
            raise RuntimeError("theirs")

    failing, other = Failing(tmp_path), Lines(tmp_path)
    for sink in (failing, other):
        with autolog.enabled(sink=sink, log_code=False), autolog.run():
            pass
    assert autolog.finish() is False
    assert len(other.asked) == 1
    assert "Failing could not deliver: RuntimeError: theirs" in caplog.text


def test_a_sink_that_the_user_has_let_go_of_is_gone(tmp_path: Path) -> None:
    sink = Lines(tmp_path)
    with autolog.enabled(sink=sink, log_code=False), autolog.run():
        pass
    assert sink in outlet._sinks()
    del sink
    gc.collect()
    assert not any(isinstance(sink, Lines) for sink in outlet._sinks())
    assert autolog.finish()


def test_each_open_runs_own_patience_holds(tmp_path: Path) -> None:
    sink = Lines(tmp_path)
    with autolog.enabled(sink=sink, log_code=False, finish_timeout=300.0):
        patient = opening.open_run("patient")
    with autolog.enabled(sink=sink, log_code=False, finish_timeout=1.0), autolog.run("hasty"):
        autolog.finish()
    assert sink.asked[-1] > 100.0
    sink.asked.clear()
    autolog.finish()  # all has arrived by now, and it is open still
    assert sink.asked[-1] > 100.0
    patient.end("finished")
    autolog.finish()
    with autolog.enabled(sink=sink, log_code=False, finish_timeout=1.0), autolog.run("hasty"):
        autolog.finish()
    assert sink.asked[-1] <= 1.0


def test_the_exit_delivers_to_a_sink_of_the_users_own(tmp_path: Path) -> None:
    program = """
    import autolog.sinks
    class Own(autolog.sinks.Sink):
        def write(self, record): print(record["kind"], flush=True)
        def stage(self, run_id): raise AssertionError
        def sync(self, timeout): return True
        def deliver(self, timeout): print("delivered", flush=True); return False
    own = Own()
    s.use(autolog.Settings(sink=own, log_code=False, quiet=True, system_interval=0))
    run = autolog.run("r").__enter__()
    """
    said = run_program(tmp_path, program).split()
    assert said.index("finish") < said.index("delivered")
    assert "Own says that something has not arrived" in " ".join(said)
    assert "on disk" not in said


def test_a_sink_that_says_nothing_has_nothing_against_it(tmp_path: Path) -> None:
    sink = Bare()
    with autolog.enabled(sink=sink, log_code=False, quiet=True), autolog.run():
        pass
    assert autolog.finish()


def test_what_was_written_before_a_fork_is_the_parents_to_deliver(tmp_path: Path) -> None:
    program = """
    import autolog.sinks
    class Own(autolog.sinks.Sink):
        def __init__(self): self.kinds = []
        def write(self, record): self.kinds.append(record["kind"])
        def stage(self, run_id): raise AssertionError
        def sync(self, timeout): return True
        def deliver(self, timeout): print("delivered", *self.kinds, flush=True); self.kinds.clear()
    own = Own()
    s.use(autolog.Settings(sink=own, log_code=False, quiet=True, system_interval=0))
    with autolog.run("r") as run:
        run.log({"x": 1})
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
    autolog.finish()
    """
    delivered = [line for line in run_program(tmp_path, program).splitlines() if "row" in line]
    assert delivered == ["delivered open config row config config finish"]


def test_a_second_ctrl_c_does_not_wait_for_a_sink_of_the_users_own(tmp_path: Path) -> None:
    program = """
    import autolog.sinks
    class Own(autolog.sinks.Sink):
        def write(self, record): pass
        def stage(self, run_id): raise AssertionError
        def sync(self, timeout): return True
        def deliver(self, timeout): print("asked", flush=True); raise KeyboardInterrupt
    own = Own()
    s.use(autolog.Settings(sink=own, log_code=False, quiet=True, system_interval=0))
    autolog.run("r").__enter__()
    """
    assert run_program(tmp_path, program).split() == ["asked"]


def test_a_space_that_one_run_wants_private_is_private() -> None:
    space = ("space", "user/space")
    outlet._is_private.pop(space, None)
    public = autolog.Settings(space_id="user/space", private=False, sink="memory")
    private = autolog.Settings(space_id="user/space", sink="memory")
    for settings, expected in ((public, False), (private, True), (public, True)):
        outlet.open_sink(settings, space)
        assert outlet._is_private[space] is expected
    outlet._is_private.pop(space)


@pytest.mark.parametrize(("recorded", "name"), [(True, "r"), (False, "unrecorded")])
def test_runs_that_the_first_version_has_pickled_are_found(recorded: bool, name: str) -> None:
    """Its pickles name `autolog.core.ownership.run_of_ticket`, and hold a dict."""
    from autolog.core.ownership import run_of_ticket

    ticket: dict[str, Any] = {"id": "i", "pid": os.getpid(), "name": "r", "project": "p", "group": None}
    ticket |= {"destination": ("local", ""), "recorded": recorded, "settings": {"log_code": False}}
    run = run_of_ticket(ticket)
    assert isinstance(run, autolog.Run)
    assert (run.name, run.status) == (name, "running")
