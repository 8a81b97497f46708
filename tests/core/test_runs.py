from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression

import autolog
from autolog import MemorySink, RunError
from autolog.core import opening
from autolog.core import settings as settings_module
from autolog.core.placing import begin_training
from autolog.core.run import recording_of
from autolog.core.training import conclude, find_run
from autolog.process import guard


@pytest.fixture(autouse=True)
def into_memory(sink: MemorySink) -> Any:
    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    yield
    settings_module.use(None)


def test_what_comes_once_is_no_chart_and_what_comes_again_is_a_line(sink: MemorySink) -> None:
    with autolog.run("r") as given:
        run = recording_of(given)
        run.log_once({"val/brier": 0.1, "vitals/fit_seconds": 2.0}, step=3)
        (kept,) = sink.runs
        assert (kept.rows, kept.config["result/more"]) == ([], {"val/brier": 0.1, "vitals/fit_seconds": 2.0})
        assert (run.last_step, run.latest["val/brier"]) == (3, 0.1)
        for step, value in ((4, 0.2), (5, 0.3)):
            run.log_once({"val/brier": value}, step=step)
    (kept,) = sink.runs
    assert kept.rows == [(step, {"val/brier": value}) for step, value in ((3, 0.1), (4, 0.2), (5, 0.3))]
    assert kept.config["result/more"] == {"vitals/fit_seconds": 2.0}
    assert run.latest["val/brier"] == 0.3


def test_a_run_of_the_users_own(sink: MemorySink) -> None:
    with autolog.run("mine", project="p", group="g", tags=["a"], config={"lr": 0.1}) as run:
        assert autolog.current_run() is run
        assert run.status == "running"
        run.log({"loss": 1.0})
        run.log({"loss": 0.5, "nested": {"a": np.float32(2)}})
        run.tag("b", "a")
        run.params({"depth": 3})
    (kept,) = sink.runs
    assert (kept.name, kept.project, kept.group, kept.status) == ("mine", "p", "g", "finished")
    assert kept.rows == [(0, {"loss": 1.0}), (1, {"loss": 0.5, "nested/a": 2.0})]
    assert kept.config["tags"] == ["a", "b"]
    assert kept.config["lr"] == 0.1
    assert kept.config["params"] == {"depth": 3}
    assert kept.config["autolog/overhead_seconds"] > 0


def test_as_a_decorator_every_call_is_a_run(sink: MemorySink) -> None:
    @autolog.run(tags=["nightly"])
    def train(x: int) -> int:
        """Train."""
        autolog.current_run().log({"x": x})
        return x + 1

    assert train(1) == 2
    assert train(x=5) == 6
    assert train.__doc__ == "Train."
    assert [run.name for run in sink.runs] == ["train", "train"]
    assert [run.metrics["x"] for run in sink.runs] == [1, 5]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("his"), "failed"), (KeyboardInterrupt(), "killed"), (SystemExit(0), "finished")]
    + [(SystemExit(3), "failed")],
)
def test_how_a_run_ends(sink: MemorySink, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)) as caught, autolog.run():
        raise error
    assert caught.value is error
    assert sink.runs[0].status == status
    failures = [alert for alert in sink.runs[0].alerts if "ValueError" in alert["title"]]
    assert len(failures) == isinstance(error, ValueError)


def test_outside_a_run_there_is_none() -> None:
    with pytest.raises(RunError, match="autolog.run"):
        autolog.current_run()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"name": 3}, TypeError, "expected a text"),
        ({"tags": "one"}, TypeError, "list of texts"),
        ({"config": [1]}, TypeError, "mapping"),
        ({"config": {"_x": 1}}, ValueError, "begin with '_'"),
        ({"project": "registry-x"}, autolog.SettingError, "registries"),
        ({"name": len}, TypeError, "As a decorator, write @autolog.run\\(\\)"),
    ],
)
def test_bad_arguments_of_run(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        autolog.run(**arguments)


@pytest.mark.parametrize("metrics", [5, [("a", 1)], None, "a"])
def test_what_is_no_mapping_cannot_be_logged(sink: MemorySink, metrics: Any) -> None:
    with autolog.run() as run, pytest.raises(TypeError, match="expected a mapping of names to values"):
        run.log(metrics)
    assert sink.runs[0].rows == []


def test_what_nobody_takes_is_left_out_of_its_row_and_told_once(
    sink: MemorySink, caplog: pytest.LogCaptureFixture
) -> None:
    with autolog.run("r") as run:
        for n in range(3):
            run.log({"n": n, "array": np.ones(3), "text": "x"})
        run.log({"array": object(), "another": object()})
    (kept,) = sink.runs
    assert kept.rows == [(n, {"n": n, "text": "x"}) for n in range(3)]
    assert [record.args[0] for record in caplog.records] == ["array", "another"]  # type: ignore[index]
    assert kept.config["autolog/notes"].keys() == {"array", "another"}
    assert "value.tolist()" in kept.config["autolog/notes"]["array"]
    assert kept.status == "finished"


class Hostile:
    """Raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("theirs")

    def __repr__(self) -> str:
        raise RuntimeError("theirs")


class HostileMapping(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("theirs")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_no_value_ends_a_training_whatever_it_does(
    sink: MemorySink, caplog: pytest.LogCaptureFixture
) -> None:
    with autolog.run() as run:
        run.log({"a": 1, "b": Hostile(), "c": HostileMapping(), "d": [Hostile()], "e": 2})
    assert sink.runs[0].rows == [(0, {"a": 1, "e": 2})]
    assert sink.runs[0].config["autolog/notes"].keys() == {"b", "c", "d"}
    assert len(caplog.records) == 3


def test_it_is_an_error_only_if_that_is_asked_for(sink: MemorySink, caplog: pytest.LogCaptureFixture) -> None:
    with autolog.run() as run:
        with pytest.raises(TypeError, match=r"'a': Trackio does not take .*numpy.ndarray.*value.tolist\(\)"):
            run.log({"fine": 1, "a": np.ones(3)}, strict=True)
        run.log({"fine": 1, "text": "x", "nothing": None, "list": [1]}, step=5, strict=True)
    assert sink.runs[0].rows == [(5, {"fine": 1, "text": "x", "nothing": None, "list": [1]})]
    assert caplog.records == []


def test_a_step_is_refused_whatever_is_logged_at_it(sink: MemorySink) -> None:
    with autolog.run() as run, pytest.raises(TypeError, match="whole number"):
        run.log({"a": np.ones(3)}, step="x")  # type: ignore[arg-type]


def test_a_timeout_of_the_users_own_passes_through_a_value(sink: MemorySink) -> None:
    from matplotlib.figure import Figure

    class Slow(Figure):
        def savefig(self, *args: Any, **kwargs: Any) -> None:
            signal.raise_signal(signal.SIGUSR1)

    def out_of_time(number: int, frame: Any) -> None:
        raise TimeoutError("the user's")

    before = signal.signal(signal.SIGUSR1, out_of_time)
    try:
        with pytest.raises(TimeoutError), autolog.run() as run:
            run.log({"a": Slow()})
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(("step", "error"), [(-1, ValueError), ("x", TypeError), (1.5, TypeError)])
def test_bad_steps(step: Any, error: type[Exception]) -> None:
    with autolog.run() as run, pytest.raises(error):
        run.log({"a": 1}, step=step)


def test_steps_go_on_after_the_last_one(sink: MemorySink) -> None:
    with autolog.run() as run:
        run.log({"a": 1}, step=10)
        run.log({"a": 2})
        run.log({"a": 3}, step=np.int64(5))
        run.log({"a": 4})
    assert [step for step, _ in sink.runs[0].rows] == [10, 11, 5, 12]


def test_after_finish_nothing_can_be_logged_and_nothing_finished_twice(sink: MemorySink) -> None:
    with autolog.run("r") as run:
        run.finish("pruned")
        for call in (
            lambda: run.log({"a": 1}),
            lambda: run.params({}),
            lambda: run.table("t", []),
            lambda: run.tag("x"),
            lambda: run.alert("x"),
            lambda: run.finish(),
        ):
            with pytest.raises(RunError, match=r"'r' is already finished \(status 'pruned'\)"):
                call()
    assert sink.runs[0].status == "pruned"


def test_bad_status_and_level() -> None:
    with autolog.run() as run:
        with pytest.raises(ValueError, match="finished, failed, killed"):
            run.finish("done")
        with pytest.raises(ValueError, match="info, warn, error"):
            run.alert("x", level="loud")


def test_figure_table_artifact_alert(sink: MemorySink, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    file = tmp_path / "v1"
    file.write_text("content")
    with autolog.run() as run:
        run.figure("eval/plot", figure)
        run.table("t", [[1, "a"]], columns=["n", "s"])
        run.table("d", [{"n": 1}])
        run.artifact(file, type="dataset", aliases=["best"])
        run.artifact(file, "by ref!", reference=True)
        run.alert("odd", "text", level="info")
        with pytest.raises(TypeError, match="matplotlib"):
            run.figure("x", 3)
        with pytest.raises(TypeError, match="list of dicts"):
            run.table("x", "text")
        with pytest.raises(FileNotFoundError, match="there is no"):
            run.artifact(tmp_path / "missing")
    (kept,) = sink.runs
    assert "<svg" in kept.html["eval/plot"]
    assert kept.tables == {"t": [{"n": 1, "s": "a"}], "d": [{"n": 1}]}
    assert [a["name"] for a in kept.artifacts] == ["v1-", "by-ref"]
    file.unlink()
    assert Path(kept.artifacts[0]["files"]["v1"]).read_text() == "content", "kept from the call on"
    assert kept.artifacts[1]["references"] == {"v1": file.as_uri()}
    assert kept.alerts[0]["title"] == "odd"


def test_names_that_trackio_keeps_for_itself(sink: MemorySink) -> None:
    with autolog.run("../a/b") as run:
        run.log({"step": 1, "__x": 2})
    assert sink.runs[0].name == "-a-b"
    assert sink.runs[0].metrics == {"__step": 1, "____x": 2}


def test_long_values_are_kept_whole_in_a_file(sink: MemorySink) -> None:
    text = "word " * 1_000
    with autolog.run() as run:
        run.params({"prompt": text})
    (kept,) = sink.runs
    assert len(kept.config["params"]["prompt"]) < len(text)
    (path,) = kept.artifacts[0]["files"].values()
    assert Path(path).read_text() == text


def test_children_know_their_parent_and_share_the_outermost_name_as_group(sink: MemorySink) -> None:
    with autolog.run("study", tags=["t"]), autolog.run("trial") as trial, trial.child("fit") as fit:
        assert autolog.current_run() is fit
    study, trial_, fit_ = sink.runs
    assert (trial_.parent, fit_.parent) == (study.id, trial_.id)
    assert [study.config.get("group"), trial_.group, fit_.group] == ["study"] * 3
    assert study.config["children"] == [trial_.id]
    assert fit_.config["tags"] == ["t"]
    assert trial_.project == study.project


def test_the_first_training_writes_in_place_later_ones_are_children(sink: MemorySink) -> None:
    class Model:
        pass

    models = [Model(), Model(), Model()]
    with autolog.run("mine") as run:
        trainings = [begin_training(model, "Model", framework=None) for model in models]
        for training in trainings:
            conclude(training)
        assert run.status == "running"
    assert [t.run.face is run for t in trainings] == [True, False, False]
    assert [t.run.face.parent for t in trainings[1:]] == [run, run]
    assert [kept.status for kept in sink.runs] == ["finished"] * 3


def test_without_a_run_every_training_has_its_own_and_stays_findable(sink: MemorySink) -> None:
    class Model:
        __slots__ = ("__weakref__",)

    first, second = Model(), Model()
    for model in (first, second):
        conclude(begin_training(model, "Model", framework=None))
    assert find_run(first) is not find_run(second)
    again = begin_training(first, "Model", framework=None)
    conclude(again)
    assert find_run(first) is again.run
    assert len(sink.runs) == 3
    del model, second
    with guard.shield("as an observer does"):
        find_run(first).log({"val/loss": 1.0})  # type: ignore[union-attr]
    assert sink.runs[2].metrics == {"val/loss": 1.0}


def test_a_run_given_by_hand_comes_first(sink: MemorySink) -> None:
    with autolog.run("outer"):
        given = opening.open_run("given")
        training = begin_training(object(), "Model", framework=None, given=given)
    assert training.run is given
    given.face.finish()


def test_three_fits_in_three_threads_are_three_whole_runs(recording: MemorySink) -> None:
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2

    def fit(C: float) -> None:
        LogisticRegression(C=C).fit(X, y)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fit, [1.0, 2.0, 3.0]))
    assert sorted(run.config["params"]["C"] for run in recording.runs) == [1, 2, 3]
    assert all(run.status == "finished" and "train/accuracy" in run.metrics for run in recording.runs)


def test_the_main_threads_run_covers_threads_that_have_none(sink: MemorySink) -> None:
    with autolog.run("main") as run:
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(autolog.current_run()))
        thread.start()
        thread.join()
    assert seen == [run]


def test_a_run_of_another_thread_covers_that_thread_only(sink: MemorySink) -> None:
    inside, done = threading.Event(), threading.Event()

    def work() -> None:
        with autolog.run("theirs"):
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(60)
    with pytest.raises(RunError):
        autolog.current_run()
    done.set()
    thread.join()


def log_here(x: int) -> str:
    autolog.current_run().log({f"metric-{x}": x})
    return autolog.current_run().id


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_workers_write_to_the_run_that_sent_them(
    recording: MemorySink, backend: str, trackio_dir: Path
) -> None:
    project = f"joblib-{backend}"
    with autolog.enabled(sink="trackio", finish_timeout=60), autolog.run("parent", project=project) as run:
        ids = Parallel(n_jobs=2, backend=backend)(delayed(log_here)(x) for x in range(6))
        assert set(ids) == {run.id}
        run.log({"own": 1})
    assert autolog.finish()
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (found,) = trackio.Api().runs(project)
    logs = SQLiteStorage.get_logs(project, "parent", run_id=found.id)
    logged = {key: value for row in logs for key, value in row.items() if key.startswith("metric")}
    assert logged == {f"metric-{x}": x for x in range(6)}
    assert found.config["status"] == "finished"
    left = list((trackio_dir / "autolog-data" / "journal").glob("*.jsonl"))
    assert left
    assert all(f"-{os.getpid()}-" in path.name for path in left), "the workers' journals have been delivered"


def test_a_run_is_itself_in_another_process(sink: MemorySink) -> None:
    settings_module.use(autolog.Settings(log_code=False))
    with autolog.run("r") as run:
        there = pickle.loads(pickle.dumps(run))
        assert (there.id, there.name, there.project) == (run.id, run.name, run.project)
        with pytest.raises(RunError, match="opened by another process"):
            there.finish()


def test_finish_ends_what_autolog_left_open_and_nothing_else(sink: MemorySink) -> None:
    class Model:
        pass

    loop, fit, model = Model(), Model(), Model()
    conclude(begin_training(loop, "Loop", framework=None), more_to_come=True)
    going_on = begin_training(fit, "Fit", framework=None)
    with autolog.run("his"):
        begin_training(model, "Model", framework=None)
        assert autolog.finish()
        statuses = {run.name.split(" ·")[0]: run.status for run in sink.runs}
        assert statuses == {"Loop": "finished", "Fit": "running", "his": "running"}
    conclude(going_on)


def test_the_system_monitor_is_one_thread_and_reaches_every_open_run(sink: MemorySink) -> None:
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0.01))
    before = threading.active_count()
    with autolog.run(), autolog.run(), autolog.run():
        end = time.monotonic() + 60
        while not all(run.system for run in sink.runs) and time.monotonic() < end:
            time.sleep(0.01)
        assert threading.active_count() <= before + 1
    assert all("cpu/utilization" in run.system[0] for run in sink.runs)
    counts = [len(run.system) for run in sink.runs]
    time.sleep(0.05)
    assert [len(run.system) for run in sink.runs] == counts


def test_overhead_is_measured(sink: MemorySink) -> None:
    began = time.perf_counter()
    with autolog.run() as run:
        for _ in range(100):
            run.log({"a": 1.0})
    config = sink.runs[0].config
    assert 0 < config["autolog/overhead_seconds"] < time.perf_counter() - began
    assert "autolog/overhead_percent" not in config  # of a tenth of a second it says nothing


def test_of_a_run_that_has_lasted_the_overhead_is_a_percentage_too(sink: MemorySink) -> None:
    with autolog.run() as run:
        run._recording._started -= 100.0  # seconds ago
        run.log({"a": 1.0})
    config = sink.runs[0].config
    expected = config["autolog/overhead_seconds"]  # of a hundred seconds
    assert config["autolog/overhead_percent"] == pytest.approx(expected, abs=0.006)


names = st.text(min_size=0, max_size=40)


@given(name=names, tags=st.lists(names, max_size=3), key=names, value=st.floats())
def test_any_name_and_any_number_is_taken(name: str, tags: list[str], key: str, value: float) -> None:
    sink = MemorySink()
    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    with autolog.run(name or None, tags=tags, config={f"k{key}": value}) as run:
        run.log({key: value})
    (kept,) = sink.runs
    assert kept.name
    assert "/" not in kept.name
    assert not kept.name.startswith(".")
    (logged,) = kept.metrics.values()
    assert logged == value or (logged != logged and value != value)


@given(st.lists(st.sampled_from(["open", "train", "close"]), max_size=12))
def test_any_nesting_keeps_every_run_whole(moves: list[str]) -> None:
    sink = MemorySink()
    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    open_runs: list[Any] = []
    models = []
    for move in moves:
        if move == "open":
            opening = autolog.run()
            opening.__enter__()
            open_runs.append(opening)
        elif move == "close" and open_runs:
            open_runs.pop().__exit__(None, None, None)
        elif move == "train":
            models.append(type("Model", (), {})())
            training = begin_training(models[-1], "Model", framework=None)
            assert bool(open_runs) == (training.run.parent is not None or not training.owns)
            conclude(training)
    while open_runs:
        open_runs.pop().__exit__(None, None, None)
    assert all(run.status == "finished" for run in sink.runs)
    by_id = {run.id: run for run in sink.runs}
    for run in sink.runs:
        assert run.parent is None or run.id in by_id[run.parent].config["children"]
    with pytest.raises(RunError):
        autolog.current_run()


def test_rows_of_a_table_have_the_same_heads(sink: MemorySink) -> None:
    with autolog.run("r") as run:
        run.table("t", [{"a": 1, "b": 2}, {"a": 3, "why": "pruned", "b": 4}])
    assert [list(cells.items()) for cells in sink.runs[0].tables["t"]] == [
        [("a", 1), ("b", 2), ("why", None)],
        [("a", 3), ("b", 4), ("why", "pruned")],
    ]


def test_what_a_user_has_in_hand_is_the_same_run_however_often_it_is_asked_for(sink: MemorySink) -> None:
    run = autolog.run("r").__enter__()
    run.theirs = known = id(run)  # type: ignore[attr-defined]
    assert autolog.current_run() is run
    assert {run: 1}[autolog.current_run()] == 1
    del run
    gc.collect()
    again = autolog.current_run()  # nobody had it in hand meanwhile
    assert (id(again), again.theirs) == (known, known)  # type: ignore[attr-defined]
    with again.child("c") as child:
        assert child != again == child.parent
    again.__exit__(None, None, None)
    assert again.status == "finished"
    gone = weakref.ref(again)
    del again
    assert gone() is None, "a run that has ended is kept by nobody but its user"
    with pytest.raises(RunError, match="no run is open"):
        autolog.current_run()


def test_a_run_that_was_pickled_is_the_current_one_when_it_is_entered(sink: MemorySink) -> None:
    with autolog.run("r") as run:
        again = pickle.loads(pickle.dumps(run))
    assert type(again) is autolog.Run
    with again:
        assert autolog.current_run() is again
        with again.child("c") as child:
            assert child.parent is again


def test_switched_off_there_is_one_current_run_and_it_takes_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOLOG_DISABLE", "1")
    monkeypatch.setenv("AUTOLOG_BUDGET", "much")  # nobody asks what it means
    settings_module.use(None)
    run = autolog.current_run()
    assert run is autolog.current_run()
    with run.child("c") as child:
        child.log({"x": 1})
        assert (child.name, child.parent) == ("c", run)
    run.finish()
    assert autolog.current_run().status == "running"


def test_a_run_is_not_made_by_its_class() -> None:
    with pytest.raises(TypeError, match=r"opened by autolog.run\(\)"):
        autolog.Run("my run")  # type: ignore[arg-type]
