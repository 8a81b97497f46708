"""Which run a record belongs to, in real programs: of threads, and beside a run of Trackio's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import read, run, values


def test_metrics_of_threads_are_neither_lost_nor_crossed(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        def work(n):
            with autolog.run(f"r{n}") as r:
                for i in range(200):
                    r.log({"m": n * 1000 + i})
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        """,
    )
    kept = read(tmp_path)
    assert len(kept) == 8
    for one in kept:
        n = int(one["name"][1:])
        assert values(one, "m") == [n * 1000 + i for i in range(200)]


def test_a_run_that_was_finished_covers_no_thread_any_more(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        over = autolog.run("over").__enter__()  # as in a notebook, where no block encloses two cells
        over.finish()
        def work():
            with autolog.run("of a thread") as r:
                assert r.parent is None
        thread = threading.Thread(target=work)
        thread.start(); thread.join()
        """,
    )
    assert "parent" not in {one["name"]: one["config"] for one in read(tmp_path)}["of a thread"]


def test_the_last_run_is_there_when_its_training_is_over(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        autolog.enable(log_code=False)
        try: autolog.last_run()
        except autolog.RunError as error: assert "nothing was recorded" in str(error)
        else: raise AssertionError
        from sklearn.linear_model import LinearRegression
        LinearRegression().fit([[0.], [1.], [2.]], [0., 1., 2.])
        autolog.last_run().log({"cost": 12.5})
        with autolog.run("outer") as outer:
            with outer.child("inner"): pass
            assert autolog.last_run() is outer
        """,
    )
    fitted, *_ = read(tmp_path)
    assert values(fitted, "cost") == [12.5]


@pytest.mark.slow
def test_a_trackio_run_of_the_users_own_is_adopted_and_never_finished(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import trackio
        autolog.enable(log_code=False)
        from sklearn.linear_model import LinearRegression
        his = trackio.init(project="p", name="his", config={"framework": "his own", "x": 1}, embed=False)
        trackio.log({"before": 1})
        LinearRegression().fit([[0.], [1.], [2.]], [0., 1., 2.])
        LinearRegression().fit([[0.], [1.], [2.]], [0., 1., 2.])
        assert trackio.context_vars.current_run.get() is his
        trackio.log({"after": 1})
        autolog.finish()
        his.config["later"] = 3
        trackio.finish()
        """,
        AUTOLOG_BUDGET="1000",
    )
    assert "Traceback" not in out
    his, child = sorted(read(tmp_path), key=lambda r: r["name"] != "his")
    assert values(his, "before") == values(his, "after") == [1]
    assert len(values(his, "train/r2")) == 1
    assert his["config"]["framework"] == "his own"
    assert his["config"]["model"] == "LinearRegression"
    assert his["config"]["x"] == 1
    assert his["config"]["later"] == 3
    assert child["config"]["parent"] == his["id"]
    assert len(values(child, "train/r2")) == 1
