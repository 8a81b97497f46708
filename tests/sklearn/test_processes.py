"""Trainings in other processes: forked, started afresh, joblib's. They belong to the run around."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.programs import read, run, values

TRAINING = """
import autolog, joblib, multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from sklearn.datasets import make_classification
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score

X, y = make_classification(200, 6, random_state=0)

def train(alpha):
    return RidgeClassifier(alpha=alpha).fit(X[:150], y[:150]).score(X[150:], y[150:])

def parallel(alphas, **backend):
    return joblib.Parallel(n_jobs=2, **backend)(joblib.delayed(train)(alpha) for alpha in alphas)

def pool(method, alphas):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(train, alphas)

def executor(method, alphas):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
        return list(workers.map(train, alphas))
"""

WAYS = [
    "parallel([11.0, 12.0])",
    "parallel([11.0, 12.0], backend='multiprocessing')",
    "pool('spawn', [11.0, 12.0])",
    "executor('spawn', [11.0, 12.0])",
    "executor('forkserver', [11.0, 12.0])",
    "pool('fork', [11.0, 12.0])",
]


def script(directory: Path, program: str, *, top: str = "", **variables: str) -> str:
    """A script as the workers of multiprocessing need it: a file, with a main part."""
    path = directory / "script" / "train.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(TRAINING + top + '\nif __name__ == "__main__":\n' + textwrap.indent(program, "    "))
    return run(directory, f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')", **variables)


def alpha_of(kept: dict[str, Any]) -> float | None:
    alpha: float | None = kept["config"].get("params/alpha")
    return alpha


@pytest.mark.long
def test_trainings_are_children_of_the_run_around(tmp_path: Path) -> None:
    ways = "".join(f"    with autolog.run({way!r}): {way}\n" for way in WAYS)
    out = script(
        tmp_path,
        f"""
autolog.enable("sklearn", quiet=True, log_code=True)
if True:
{ways}
print("finished", autolog.finish())
""",
    )
    assert out == "finished True\n"
    kept = read(tmp_path)
    for way in WAYS:
        (outer,) = [one for one in kept if one["name"] == way]
        trained = [one for one in kept if one["config"].get("parent") == outer["id"]]
        assert sorted(map(alpha_of, trained)) == [11.0, 12.0], way  # type: ignore[type-var]
        assert sorted(outer["config"]["children"]) == sorted(one["id"] for one in trained)
        for one in trained:
            assert one["config"]["status"] == "finished"
            assert one["config"]["run/entry"] == outer["config"]["run/entry"]
            assert len(values(one, "val/accuracy")) == 1
            assert not {"autolog/faults", "autolog/lost"} & one["config"].keys()


@pytest.mark.long
def test_trainings_outside_of_any_run_are_runs_of_their_own(tmp_path: Path) -> None:
    ways = [way.replace("11.0, 12.0", f"{number}.5") for number, way in enumerate(WAYS, 1)]
    # Nothing is recorded in the process itself: its exit delivers what its workers have left.
    script(tmp_path, "\n".join(['autolog.enable("sklearn", quiet=True, log_code=True)', *ways]))
    kept = read(tmp_path)
    assert sorted(map(alpha_of, kept)) == [number + 0.5 for number in range(1, 7)]  # type: ignore[type-var]
    assert all("parent" not in one["config"] for one in kept)
    entry = str(tmp_path / "script" / "train.py")
    assert {one["config"]["run/entry"] for one in kept} == {entry}
    assert {artifact["type"] for one in kept for artifact in one["artifacts"]["output"]} >= {"code", "model"}


@pytest.mark.long
def test_workers_that_are_used_again_know_the_run_of_each_task(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
autolog.enable("sklearn", quiet=True)
for name, alpha in (("a", 1.5), ("b", 2.5)):
    with autolog.run(name):
        parallel([alpha])
parallel([3.5])
with autolog.run("search"):
    GridSearchCV(RidgeClassifier(), {"alpha": [4.5, 5.5]}, n_jobs=2).fit(X, y)
cross_val_score(RidgeClassifier(alpha=6.5), X, y, n_jobs=2)
""",
    )
    kept = read(tmp_path)
    names = {one["id"]: one["name"] for one in kept}
    of = {alpha_of(one): names.get(one["config"].get("parent")) for one in kept if alpha_of(one) is not None}
    assert {alpha: of.get(alpha, "not recorded") for alpha in (1.5, 2.5, 3.5)} == {
        1.5: "a",
        2.5: "b",
        3.5: None,
    }
    # A search and a cross-validation are one run each, wherever their parts are fitted.
    assert len(kept) == 2 + 3 + 2


@pytest.mark.long
def test_workers_that_are_used_again_record_what_is_turned_on_where_the_task_is_from(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
parallel([0.5])  # the workers begin here, and know nothing of us
autolog.enable("sklearn", quiet=True, tags=["first"])
parallel([1.5])
autolog.disable()
parallel([2.5])
autolog.enable("optuna", quiet=True)
parallel([3.5])
autolog.enable("sklearn", quiet=True, tags=["second"])
parallel([4.5])
autolog.finish()
""",
    )
    assert {alpha_of(one): one["config"]["tags"] for one in read(tmp_path)} == {
        1.5: ["first"],
        4.5: ["second"],
    }


@pytest.mark.long
def test_what_comes_after_a_run_has_ended_reaches_it(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
autolog.enable("sklearn", quiet=True)
with autolog.run("outer"):
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        workers.apply(late)
""",
        top="""
def late():
    model = RidgeClassifier(alpha=1.5).fit(X[:150], y[:150])
    journals = os.path.join(os.environ["TRACKIO_DIR"], "autolog-data", "journal")
    while any(f"-{os.getpid()}-" in name for name in os.listdir(journals)):
        time.sleep(0.01)  # until it is left to the parent
    model.score(X[150:], y[150:])
    time.sleep(0.5)
""",
    )
    (trained,) = [one for one in read(tmp_path) if one["name"] != "outer"]
    assert trained["config"]["status"] == "finished"
    assert len(values(trained, "val/accuracy")) == 1


@pytest.mark.slow
def test_what_the_program_turns_on_itself_holds_in_its_workers(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
with autolog.run("outer"):
    pool("spawn", [1.5])
""",
        top='autolog.enable("sklearn", quiet=True, tags=["own"], log_models=__name__ == "__main__")\n',
    )
    (trained,) = [one for one in read(tmp_path) if one["name"] != "outer"]
    assert trained["config"]["parent"]
    assert not any(artifact["type"] == "model" for artifact in trained["artifacts"]["output"])


def test_a_worker_that_imports_no_framework_imports_nothing_of_ours(tmp_path: Path) -> None:
    worker = tmp_path / "script" / "worker.py"
    worker.parent.mkdir()
    ours = "[name for name in sys.modules if name.partition('.')[0] == 'autolog']"
    worker.write_text(f"import sys\ndef modules(_): return {ours}")
    out = run(
        tmp_path,
        f"""
        sys.path.insert(0, {str(worker.parent)!r})
        import multiprocessing, worker
        autolog.enable("sklearn", quiet=True)
        for method in ("spawn", "forkserver"):
            with autolog.run("outer"), multiprocessing.get_context(method).Pool(1) as workers:
                print(workers.map(worker.modules, [0]))
        """,
    )
    assert out == "[[]]\n[[]]\n"


def test_a_worker_that_trains_nothing_imports_nothing_that_records(tmp_path: Path) -> None:
    worker = tmp_path / "script" / "worker.py"
    worker.parent.mkdir()
    ours = "{name.rpartition('.')[0] for name in sys.modules if name.startswith('autolog.')}"
    worker.write_text(f"""
import sklearn.base, sys
def told(_): return sorted({ours}), 'autolog.core.outlet' in sys.modules
""")
    out = run(
        tmp_path,
        f"""
        sys.path.insert(0, {str(worker.parent)!r})
        import multiprocessing, worker
        autolog.enable("sklearn", quiet=True)
        with multiprocessing.get_context("spawn").Pool(1) as workers:
            print(workers.map(worker.told, [0]))
        """,
    )
    assert out == "[(['autolog', 'autolog.core', 'autolog.process'], False)]\n"


@pytest.mark.long
def test_processes_of_a_worker_are_told_by_it(tmp_path: Path) -> None:
    plain = tmp_path / "script" / "plain.py"  # imports no framework before it starts a process of its own
    plain.parent.mkdir()
    plain.write_text("""
import multiprocessing
def start(method):
    process = multiprocessing.get_context(method).Process(target=train)
    process.start()
    process.join()
def train():
    from sklearn.linear_model import Ridge
    Ridge(alpha=0.5).fit([[0.0], [1.0]], [0.0, 1.0])
""")
    script(
        tmp_path,
        """
import plain
autolog.enable("sklearn", quiet=True)
for method in ("spawn", "fork"):
    with autolog.run(f"outer {method}"):
        with multiprocessing.get_context("spawn").Pool(1) as workers:
            workers.apply(inner, ["inner " + method])
        process = multiprocessing.get_context(method).Process(target=plain.start, args=["spawn"])
        process.start()
        process.join()
""",
        top=f"""
sys.path.insert(0, {str(plain.parent)!r})
def inner(name):
    multiprocessing.current_process()._config["daemon"] = False  # the worker of a pool, else, starts none
    with autolog.run(name):
        process = multiprocessing.get_context("spawn").Process(target=train, args=[1.5])
        process.start()
        process.join()
""",
    )
    kept = read(tmp_path)
    names = {one["id"]: one["name"] for one in kept}
    of = {(alpha_of(one), names.get(one["config"].get("parent"))) for one in kept if alpha_of(one)}
    assert of == {
        (alpha, f"{name} {method}")
        for alpha, name in ((0.5, "outer"), (1.5, "inner"))
        for method in ("spawn", "fork")
    }


@pytest.mark.slow
def test_a_sink_that_other_processes_do_not_reach_is_said(tmp_path: Path) -> None:
    out = script(
        tmp_path,
        """
sink = autolog.MemorySink()
autolog.enable("sklearn", sink=sink)
pool("spawn", [1.5])
pool("spawn", [1.5])
with autolog.run("outer"):
    pool("spawn", [1.5])
outer = sink.runs[0]
with autolog.run("search"): GridSearchCV(RidgeClassifier(), {"alpha": [1.5]}, n_jobs=2).fit(X, y)
assert "trainings in other processes" not in str(sink.runs[1].config)
print(outer.config["autolog/notes"]["trainings in other processes"])
""",
    )
    said = "Settings.sink keeps what is recorded in this process alone; sink='trackio' reaches others"
    assert f"lost: {said}" in out
    assert out.count("autolog: trainings in other processes are not recorded") == 1


@pytest.mark.slow
def test_turned_off_nothing_goes_along(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
autolog.enable("sklearn", quiet=True)
autolog.disable()
pool("spawn", [1.5])
with autolog.run("outer"):
    pool("spawn", [2.5])
""",
    )
    assert [one["name"] for one in read(tmp_path)] == ["outer"]
