"""What nobody takes must not keep the rest from arriving; and the journal does not grow for ever."""

from __future__ import annotations

import contextlib
import os
import shutil
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autolog.sinks import Record
from autolog.sinks import channel as channel_module
from autolog.sinks import journal as journal_module
from autolog.sinks.batch import Batch
from autolog.sinks.channel import Channel
from autolog.sinks.delivery import MOST_REFUSALS
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Identity
from autolog.sinks.journal import Cursor
from autolog.sinks.state import RunState
from tests.programs import ON_DISK, journals, read, run, start, values

POISONS = {
    "a step beyond SQLite": 'write("row", step=2**63, values={"m": 1.0})',
    "an alert's step": 'write("alert", title="t", text=None, level="warn", step=2**63)',
    "a title that is no text": 'write("alert", title={"a": 1}, text=None, level="warn", step=0)',
    "a chart of no kind": 'write("chart", step=0, key="k", caption=None, '
    'chart={"kind": "?", "title": "", "data": {}})',
    "an artifact that is gone": 'r.artifact(gone, "gone"); open(gone, "w").close(); os.unlink(gone);'
    " [os.unlink(os.path.join(d, f)) for d, _, fs in os.walk(stage) for f in fs]",
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_one_record_that_nobody_takes_costs_only_itself(tmp_path: Path, poison: str) -> None:
    out = run(
        tmp_path / "trackio",
        f"""
        gone, stage = {str(tmp_path / "gone")!r}, {str(tmp_path / "trackio" / "autolog-data" / "files")!r}
        open(gone, "w").close()
        with autolog.run("poisoned") as r:
            write = r._recording.write
            for n in range(5): r.log({{"before": n}})
            {poison}
            for n in range(5): r.log({{"after": n}})
        with autolog.run("next") as n: n.log({{"m": 1}})
        print("arrived", autolog.finish())
        """,
    )
    assert "arrived False" in out  # it never will
    assert "cannot be recorded" in out
    kept = {r["name"]: r for r in read(tmp_path / "trackio")}
    assert values(kept["poisoned"], "before") == values(kept["poisoned"], "after") == list(range(5))
    assert kept["poisoned"]["config"]["status"] == "finished"
    assert values(kept["next"], "m") == [1]
    assert journals(tmp_path / "trackio") == []


REFUSED = [
    'r.log({"a": 1}, step=2**63)',
    'r.alert("x", step=2**63)',
    'r.alert("x", step="y")',
    'r.table("t", [[1, 2], [3]], columns=["a", "b"])',
    "r.tag(None)",
    "r.artifact({})",
    'r.log({"a": 1}, step=float("nan"))',
    'r.log({"a": 1}, step=float("inf"))',
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a program tells that makes all of these calls, each in a run of its own."""
    program = f"""
    for call in {REFUSED!r}:
        with autolog.run("r") as r:
            try:
                exec(call)
            except (TypeError, ValueError) as error:
                print("refused:", call, error)
    """
    return run(tmp_path_factory.mktemp("refused"), program)


@pytest.mark.parametrize("call", REFUSED)
def test_what_nobody_would_take_is_refused_at_the_call(refused: str, call: str) -> None:
    assert f"refused: {call} " in refused


def test_names_of_any_kind_arrive(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from autolog.capture.figures import Chart
        bad = "a" + chr(0xD800) + "/../" + "語" * 150
        line = {"name": "s", "x": [0, 1], "y": [0, 1]}
        chart = Chart("curve", "t", {"series": [line], "x_label": "x", "y_label": "y"})
        with autolog.run(bad, group=bad, tags=[bad], config={bad: bad}) as r:
            r.log({bad: 1.0}); r.table(bad, [{bad: bad}]); r.alert(bad, bad)
            r.figure("f/" + bad, chart, caption=bad)
        assert autolog.finish()
        """,
    )
    (kept,) = read(tmp_path)
    assert len(kept["logs"]) == 3
    assert kept["config"]["status"] == "finished"
    assert kept["config"].get("autolog/lost") is None


def test_the_journal_begins_anew_when_it_has_arrived(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        from autolog.sinks import delivery
        delivery.JOURNAL_BYTES = 20_000
        with autolog.run("r", config={"x": 1}) as r:
            largest = 0
            for part in range(5):
                for n in range(500): r.log({"m": part * 500 + n})
                assert autolog.finish()
                (path,) = [c.journal.path for c in autolog.core.outlet._trackio._all()]
                largest = max(largest, path.stat().st_size)
                r.params({f"p{part}": part})
        print("largest", largest)
        """,
    )
    assert int(out.split()[-1]) < 150_000
    (kept,) = read(tmp_path)
    assert values(kept, "m") == list(range(2_500))
    assert kept["config"]["x"] == 1
    assert kept["config"]["params"] == {f"p{part}": part for part in range(5)}
    assert kept["config"]["status"] == "finished"


def test_a_crash_after_the_journal_began_anew_is_still_known(tmp_path: Path) -> None:
    program = """
    from autolog.sinks import delivery
    delivery.JOURNAL_BYTES = 2_000
    r = autolog.run("r", config={"x": 1}).__enter__()
    for n in range(500): r.log({"m": n})
    assert autolog.finish()
    assert not on_disk()
    r.log({"m": 500})
    while not on_disk(): time.sleep(0.01)
    os._exit(0)
    """
    run(tmp_path, ON_DISK + textwrap.dedent(program))
    run(tmp_path, 'with autolog.run("next"): pass')
    kept = {r["name"]: r for r in read(tmp_path)}
    assert values(kept["r"], "m") == list(range(501))
    assert kept["r"]["config"]["status"] == "crashed"
    assert kept["r"]["config"]["x"] == 1


def test_a_project_that_is_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import pathlib
        with autolog.run("r", config={"x": 1}) as r:
            r.log({"m": 1})
            assert autolog.finish()
            for path in pathlib.Path(os.environ["TRACKIO_DIR"]).glob("p.db*"): path.unlink()
            r.log({"m": 2})
        """,
    )
    (kept,) = read(tmp_path)
    assert values(kept, "m") == [2]
    assert kept["config"]["x"] == 1


def test_files_that_a_killed_process_had_not_finished_are_removed(tmp_path: Path) -> None:
    files, journal = tmp_path / "autolog-data" / "files", tmp_path / "autolog-data" / "journal"
    for folder in (files / "old", files / "young", journal):
        folder.mkdir(parents=True)
    (files / "old" / "model.joblib").write_text("half")
    (journal / "x-1-a.new").write_text("")
    for path in (files / "old", journal / "x-1-a.new"):
        os.utime(path, (1, 1))
    elsewhere = journal / "elsewhere-1-a.jsonl"
    elsewhere.write_text("")
    program = "with autolog.run('r'): pass\nassert autolog.finish()"
    run(tmp_path, program)
    assert (files / "old").exists(), "somebody else is here, whose it may be"
    elsewhere.unlink()
    run(tmp_path, program)
    assert sorted(path.name for path in files.iterdir()) == ["young"]
    assert list(journal.iterdir()) == []


class Refusing:
    """A place of our own kind: some runs it does not take at all, some values of others neither."""

    recalls = False

    def note(self, run: Identity) -> None:
        """Nothing is to be said."""

    def __init__(self, *runs: str) -> None:
        self.runs = runs
        self.asked = 0
        self.taken: dict[str, list[str]] = {}

    def rows(self, run: Identity, rows: list[Record], config: dict[str, object] | None) -> None:
        self.asked += 1
        if run.id in self.runs or any("bad" in row["values"] for row in rows):
            raise ValueError("no")
        self.taken.setdefault(run.id, []).extend(key for row in rows for key in row["values"])


def batch_of(run: str, *metrics: str) -> Batch:
    record = {"kind": "open", "run": run, "project": "p", "name": run, "group": None, "time": 0.0}
    record |= {"joined": False, "adopted": False}
    batch = Batch(RunState(record), Helper())
    batch.take(record)
    for n, key in enumerate(metrics):
        batch.take({"kind": "row", "run": run, "id": f"{n}", "time": 0.0, "step": n, "values": {key: n}})
    return batch


def test_a_place_that_takes_nothing_is_soon_left_in_peace_and_nothing_is_given_up() -> None:
    place, batch = Refusing("r"), batch_of("r", *(f"m{n}" for n in range(4)))
    assert not batch.deliver(place)  # type: ignore[arg-type]
    assert place.asked < 10
    place.runs = ()
    assert batch.deliver(place)  # type: ignore[arg-type]
    assert place.taken["r"] == ["m0", "m1", "m2", "m3"]


def test_a_value_that_nobody_takes_is_said_in_the_run() -> None:
    place, batch = Refusing(), batch_of("r", "m0", "bad", "m2")
    assert batch.deliver(place)  # type: ignore[arg-type]
    assert place.taken["r"] == ["m0", "m2"]
    assert batch.run.config["autolog/lost"] == {"bad": "ValueError: no"}


def test_a_run_that_is_refused_alone_does_not_keep_the_others_waiting_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Refusing("refused")
    channel = Channel(("local", ""), tmp_path, lambda: place, write_through=True)  # type: ignore[arg-type,return-value]
    batches = {run: batch_of(run, "m") for run in ("refused", "taken")}
    for _ in range(MOST_REFUSALS - 1):
        with pytest.raises(ConnectionError, match="refuses"):
            channel._delivery._deliver_batches(batches)
    assert place.taken == {"taken": ["m"]}
    channel._delivery._deliver_batches(batches)
    assert "anything of run refused cannot be recorded" in caplog.text
    channel.close()


class Board:
    """A place with one config, which can be read back."""

    recalls = True

    def note(self, run: Identity) -> None:
        """Nothing is to be said."""

    def __init__(self) -> None:
        self.written: dict[str, object] = {}
        self.fails = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def config(self, run: Identity) -> dict[str, object]:
        read = dict(self.written)
        self.meanwhile()
        return read

    def rows(self, run: Identity, rows: list[Record], config: dict[str, object] | None) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("the disk is full")
        self.written = self.written if config is None else config


def owner_of_a_shared_run(directory: Path) -> Batch:
    record = {"kind": "open", "run": "r", "project": "p", "name": "r", "group": None, "time": 0.0}
    record |= {"joined": False, "adopted": False, "shared": True}
    return Batch(RunState(record, directory), Helper())


def change(batch: Batch, **values: object) -> Batch:
    record = {"kind": "config", "run": "r", "values": values}
    batch.run.take(record)
    batch.take(record)
    return batch


def test_a_result_of_the_users_own_is_kept_by_who_has_only_read_it(tmp_path: Path) -> None:
    board: Any = Board()
    one, other = owner_of_a_shared_run(tmp_path), owner_of_a_shared_run(tmp_path)
    assert change(one, result={"verdict": "good", "n": 1}).deliver(board)
    row: Any = {"kind": "row", "run": "r", "id": "1", "time": 0.0, "step": 0, "values": {"val/f1": 0.5}}
    other.run.take(row)
    assert change(other, b=2).deliver(board)
    assert board.written["result"] == {"verdict": "good", "n": 1}


def test_owners_of_one_run_keep_what_the_others_have_made_of_its_config(tmp_path: Path) -> None:
    board: Any = Board()
    one, other = owner_of_a_shared_run(tmp_path), owner_of_a_shared_run(tmp_path)
    assert change(one, a=1, b=1).deliver(board)
    assert change(other, b=2).deliver(board)
    assert change(one, c=3).deliver(board)
    assert {key: board.written[key] for key in "abc"} == {"a": 1, "b": 2, "c": 3}

    assert change(one, trials=30, as_of="2").deliver(board)
    assert change(other, trials=26, as_of="1").deliver(board)  # it comes later, and knows less
    assert (board.written["trials"], board.written["as_of"]) == (30, "2")


def test_what_grows_in_a_shared_config_is_what_all_its_owners_have(tmp_path: Path) -> None:
    board: Any = Board()
    one, other = owner_of_a_shared_run(tmp_path), owner_of_a_shared_run(tmp_path)
    assert change(one, tags=["both", "one"], params={"a": 1, "b": 1}, best={"x": 1}).deliver(board)
    assert change(other, tags=["both", "other"], params={"b": 2}, best={"y": 2}).deliver(board)
    assert change(one, tags=["both", "one", "late"]).deliver(board)
    assert board.written["tags"] == ["both", "one", "other", "late"]
    assert board.written["params"] == {"a": 1, "b": 2}
    assert board.written["best"] == {"y": 2}  # which is one thing, and the later one's


def test_what_a_forked_child_adds_stays_beside_what_its_parent_adds(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r") as r:
            r.tag("before")
            child = os.fork()
            if not child:
                r.tag("childs"); r.params({"childs": 1}); os._exit(0)
            os.waitpid(child, 0)
            autolog.finish()
            r.tag("after"); r.params({"after": 1})
        autolog.finish()
        """,
    )
    (found,) = read(tmp_path)
    assert set(found["config"]["tags"]) == {"before", "childs", "after"}
    assert found["config"]["params"] == {"childs": 1, "after": 1}


def test_what_a_child_logs_does_not_wait_until_its_parent_has_rested(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import sqlite3
        from autolog.sinks import channel
        channel.REST_SECONDS = 10_000.0  # it would not come by itself
        channel.SWEEP_SECONDS = 0.5
        s.use(autolog.Settings.from_environment(log_code=False, system_interval=0))
        with autolog.run("r") as r:
            r.log({"x": 1})
            (channel,) = autolog.core.outlet._trackio._all()
            wait, asked = channel._bell.wait, []
            channel._bell.wait = lambda seconds: asked.append(seconds) or wait(seconds)
            while 10_000.0 not in asked: time.sleep(0.01)  # then it rests
            child = os.fork()
            if not child:
                r.log({"x": 2}); os._exit(0)
            os.waitpid(child, 0)
            database = sqlite3.connect(os.environ["TRACKIO_DIR"] + "/p.db")
            for _ in range(1_000):
                rows = database.execute("SELECT COUNT(*) FROM metrics").fetchone()[0]
                if rows == 2: break
                time.sleep(0.1)
            print(rows)
        """,
    )
    assert int(out) == 2


def test_a_change_of_a_shared_run_that_does_not_arrive_is_tried_again(tmp_path: Path) -> None:
    board: Any = Board()
    owner = owner_of_a_shared_run(tmp_path)
    assert change(owner, a=1).deliver(board)
    board.fails = 1
    with pytest.raises(OSError, match="full"):
        change(owner, a=2).deliver(board)
    assert owner.deliver(board)
    assert board.written["a"] == 2


def test_what_comes_after_a_rest_is_delivered_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "REST_SECONDS", 10_000.0)  # it would not come by itself
    monkeypatch.setattr(channel_module, "_has_children", False)  # as other tests may have
    monkeypatch.setattr(channel_module, "DELIVER_SECONDS", 0.05)
    monkeypatch.setattr(journal_module, "FLUSH_SECONDS", 0.02)
    board: Any = Board()
    channel = Channel(("local", ""), tmp_path, lambda: board)
    wait, asked = channel._bell.wait, []
    monkeypatch.setattr(channel._bell, "wait", lambda seconds: asked.append(seconds) or wait(seconds))

    def comes(**values: object) -> None:
        channel.journal.append({"kind": "config", "run": "r", "values": values})
        end = time.monotonic() + 60
        while not board.written.items() >= values.items():
            assert time.monotonic() < end
            time.sleep(0.01)

    shape = {"project": "p", "name": "n", "group": None, "adopted": False, "joined": False}
    channel.journal.append({"kind": "open", "run": "r", "time": 0.0, **shape})
    for n in range(3):
        rests = asked.count(10_000.0)
        comes(n=n)
        while asked.count(10_000.0) == rests:  # then it rests
            time.sleep(0.01)
    channel.close()


OPENED = {"kind": "open", "run": "r", "project": "p", "name": "r", "group": None, "time": 0.0}
OPENED |= {"joined": False, "adopted": False, "shared": True}
CHART = {"labels": ["x", "y"], "counts": [[5, 1], [2, 4]]}


def picture(number: int = 0) -> Record:
    chart = {"kind": "confusion_matrix", "title": "c", "data": CHART}
    record = {"kind": "chart", "run": "r", "id": f"c{number}", "time": 0.0, "step": 0, "key": f"c{number}"}
    return {**record, "chart": chart}  # type: ignore[return-value]


def test_what_a_run_says_does_not_wait_for_its_pictures(tmp_path: Path) -> None:
    board: Any = Board()
    drawer = Helper()
    channel = Channel(("local", ""), tmp_path, lambda: board, drawer=drawer)
    drawer.close()  # the program ends before it is drawn
    for record in (OPENED, {"kind": "config", "run": "r", "values": {"a": 1}}, picture(), ENDED):
        channel.journal.append(record)
    assert not channel.ask()(3.0)
    assert board.written["a"] == 1
    assert board.written["status"] == "finished"
    assert board.written["autolog/pending"] == 1
    channel.close()


ENDED = {"kind": "finish", "run": "r", "id": "e", "time": 0.0, "status": "finished"}


def test_when_all_is_said_to_have_arrived_no_journal_is_left(tmp_path: Path) -> None:
    """Not a moment later: the program may end right then."""
    board: Any = Board()
    board.picture, board.alerts = (lambda *_: {"page": 1}), (lambda *_: None)
    left = tmp_path / f"{journal_module.hostname()}-1-left.jsonl"
    shutil.copy(Path(__file__).parent / "journals" / "v2.jsonl", left)
    channel = Channel(("local", ""), tmp_path, lambda: board)
    assert channel.ask()(120.0)
    assert list(tmp_path.glob("*-1-left*")) == []
    channel.close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_away_for_a_moment_costs_no_picture(tmp_path: Path) -> None:
    """Not even while it is asked what stands there already."""
    board: Any = Board()
    away = [OSError("away"), OSError("away")]
    config = board.config
    board.config = lambda run: config(run) if not away else (_ for _ in ()).throw(away.pop())
    shown: list[str] = []
    board.picture, board.alerts = (lambda run, step, name, *_: shown.append(name)), (lambda *_: None)
    left = tmp_path / f"{journal_module.hostname()}-1-left.jsonl"
    shutil.copy(Path(__file__).parent / "journals" / "v2.jsonl", left)
    Cursor(rows=left.stat().st_size).keep(left)
    channel = Channel(("local", ""), tmp_path, lambda: board)
    assert channel.ask()(60.0)
    assert away == []
    assert len(shown) == 1
    assert "autolog/pending" not in board.written
    channel.close()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_its_process_removes_after_all_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Between letting go of its lock and removing it somebody else takes it for one that is left."""
    board: Any = Board()
    board.alerts = lambda *_: None
    left = tmp_path / f"{journal_module.hostname()}-1-left.jsonl"
    shutil.copy(Path(__file__).parent / "journals" / "v2.jsonl", left)

    def removed(run: Identity, rows: list[Record], config: dict[str, object] | None) -> None:
        left.unlink(missing_ok=True)
        raise OSError("for a moment")

    board.rows = removed
    channel = Channel(("local", ""), tmp_path, lambda: board)
    assert channel.ask()(60.0)
    channel.close()
    assert list(tmp_path.glob("*.jsonl")) == []


def test_what_delivery_has_cost_is_said_without_undoing_what_others_have_changed(tmp_path: Path) -> None:
    board: Any = Board()
    other = owner_of_a_shared_run(tmp_path)

    def artifact_is_slow(run: Identity, record: Record) -> None:
        """Until it is there, the other one has changed the config; then the first says what that has cost."""
        assert change(other, trials=30).deliver(board)
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    board.artifact = artifact_is_slow
    channel = Channel(("local", ""), tmp_path, lambda: board)
    cost = {"autolog/overhead_seconds": 0.1, "autolog/overhead_percent": 1.0}
    artifact = {"kind": "artifact", "run": "r", "id": "a", "name": "model", "files": {}, "staged": False}
    for record in (OPENED, {"kind": "config", "run": "r", "values": {"trials": 26, **cost}}, ENDED, artifact):
        channel.journal.append(record)
    assert channel.ask()(60.0)
    assert board.written["autolog/overhead_seconds"] > 0.12  # type: ignore[operator]
    assert board.written["trials"] == 30
    channel.close()


def test_one_owner_at_a_time_changes_a_shared_config(tmp_path: Path) -> None:
    board: Any = Board()
    owners = [owner_of_a_shared_run(tmp_path) for n in range(4)]
    board.meanwhile = lambda: time.sleep(0.005)  # between reading and writing

    def work(n: int) -> None:
        for k in range(10):
            assert change(owners[n], **{f"{n}/{k}": k}).deliver(board)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"{n}/{k}" for n in range(4) for k in range(10)} <= set(board.written)


def test_a_run_says_what_its_delivery_has_cost_too(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        from autolog.capture.figures import Chart
        with autolog.run("with pictures") as r:
            r.log({"a": 1.0})
            for n in range(3):
                counts = [[5, 1], [2, 4]]
                r.figure(f"c{n}", Chart("confusion_matrix", "c", {"labels": ["x", "y"], "counts": counts}))
        print("callers", r._recording.overhead_seconds)
        with autolog.run("without") as r:
            r.log({"a": 1.0})
        autolog.finish()
        for n in range(3):  # after its end
            r._recording.write("chart", step=0, key=f"later{n}", caption=None, chart={
                "kind": "confusion_matrix", "title": "c", "data": {"labels": ["x", "y"], "counts": counts}})
        """,
    )
    callers = float(out.split("callers ")[1].split()[0])
    kept = {r["name"]: r["config"] for r in read(tmp_path)}
    for name in ("with pictures", "without"):
        assert kept[name]["autolog/overhead_seconds"] > callers, name
    assert "autolog/lost" not in str(kept)


PICTURES = 200


def leave_many_pictures(directory: Path) -> None:
    """A program that ends before they are drawn, and a second run behind them."""
    run(
        directory,
        f"""
        from autolog.capture.figures import Chart
        with autolog.run("first") as r:
            for n in range({PICTURES}):
                data = {{"labels": ["a", "b"], "counts": [[1, n], [2, 3]]}}
                r.figure(f"p/{{n}}", Chart("confusion_matrix", "c", data))
        with autolog.run("second") as r: r.log({{"x": 1}})
        """,
        AUTOLOG_FINISH_TIMEOUT="0",
    )


def found_by(directory: Path, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What stands there as soon as the condition holds, while another program delivers and then waits."""
    read(directory)  # once it has imported what it needs, it reads in no time
    program = start(directory, "with autolog.run('third') as r: r.log({'x': 3})\ntime.sleep(200)")
    try:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(Exception):  # the database is being made
                kept = {found["name"]: found for found in read(directory)}
                if condition(kept):
                    return kept
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        program.kill()
        program.communicate()


def pictures_of(kept: dict[str, Any]) -> int:
    rows = kept["first"]["logs"] if "first" in kept else []
    return sum(key.startswith("p/") for row in rows for key in row)


def test_runs_that_were_left_are_seen_before_their_pictures_are_drawn(tmp_path: Path) -> None:
    leave_many_pictures(tmp_path)
    kept = found_by(tmp_path, lambda kept: {"second", "third"} <= kept.keys())
    assert values(kept["second"], "x") == [1]
    assert pictures_of(kept) < PICTURES


@pytest.mark.slow
def test_each_picture_that_was_drawn_counts_for_the_next_program(tmp_path: Path) -> None:
    leave_many_pictures(tmp_path)
    (left,) = journals(tmp_path)
    found_by(tmp_path, lambda kept: pictures_of(kept) > 1 and bool(Cursor.of(left).arrived))
    cursor = Cursor.of(left)
    assert cursor.rows == left.stat().st_size
    assert 0 < len(cursor.arrived) < PICTURES


def test_what_delivers_is_not_started_before_it_is_time_or_somebody_waits(tmp_path: Path) -> None:
    """A program that has just begun keeps its cores for itself."""
    out = run(
        tmp_path,
        """
        from autolog.core import outlet
        from autolog.sinks import channel
        channel.START_SECONDS = 3_600.0
        with autolog.run("r") as r:
            r.log({"m": 1})
        sink = outlet._trackio_sink()
        sink.sync(60)
        time.sleep(1)  # in which it would be
        (channel,) = sink._all()
        print("started", channel.helper._process is not None)
        print("arrived", autolog.finish())
        print("started", channel.helper._process is not None)
        """,
    )
    assert out.split() == ["started", "False", "arrived", "True", "started", "True"]
    (kept,) = read(tmp_path)
    assert values(kept, "m") == [1]


def test_what_is_logged_arrives_though_nobody_waits(tmp_path: Path) -> None:
    process = start(tmp_path, "with autolog.run('r') as r:\n    r.log({'m': 1})\n    time.sleep(600)")
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (tmp_path / "p.db").exists():
            time.sleep(0.05)
        while time.monotonic() < end and not [r for r in read(tmp_path) if values(r, "m") == [1]]:
            time.sleep(0.5)
        assert [values(r, "m") for r in read(tmp_path)] == [[1]]
    finally:
        process.kill()
        process.communicate()
