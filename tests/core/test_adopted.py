"""A Trackio run of the user's own: how it ends, and what ends with it, in real programs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.programs import journals, read, run, start, until_on_disk, until_told, values

HIS = """
import trackio, warnings
autolog.enable(log_code=False)
from sklearn.linear_model import LogisticRegression
quiet = dict(embed=False, auto_log_cpu=False, auto_log_gpu=False)
his = trackio.init(project="p", name="his", config={"mine": 1}, **quiet)
fitted = LogisticRegression().fit([[0.], [1.], [2.], [3.]], [0, 0, 1, 1])
"""

ENDS = {
    "its own finish": ("trackio.finish()", 0, "finished"),
    "the program's end": ("", 0, "finished"),
    "sys.exit": ("sys.exit(3)", 3, "finished"),
    "an exception": ("raise ValueError('his')", 1, "failed"),
    "an exception, and finish after all": (
        "try: raise ValueError('his')\nfinally: trackio.finish()",
        1,
        "failed",
    ),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, "killed"),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT, "killed"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code", "status"), ENDS.values(), ids=ENDS)
def test_its_status_is_how_it_has_ended(tmp_path: Path, end: str, code: int, status: str) -> None:
    run(tmp_path, HIS + end, code=code)
    (his,) = read(tmp_path)
    assert his["config"]["status"] == status
    assert his["config"]["mine"] == 1
    assert his["config"]["model"] == "LogisticRegression"
    assert values(his, "train/accuracy") == [1]
    failed = status == "failed"
    assert his["config"].get("error") == ("ValueError: his" if failed else None)
    assert [alert["title"] for alert in his["alerts"]] == (["his failed: ValueError"] if failed else [])
    assert journals(tmp_path) == []


@pytest.mark.slow
def test_it_has_ended_when_it_is_finished_whatever_comes_after(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        HIS
        + """
trackio.finish()
print(autolog.finish(), flush=True)
again = trackio.init(project="p", name="again", **quiet)
LogisticRegression().fit([[0.], [1.]], [0, 1])
raise ValueError("his")
""",
        code=1,
    )
    assert "\nTrue\n" in out
    statuses = {one["name"]: one["config"]["status"] for one in read(tmp_path)}
    assert statuses == {"his": "finished", "again": "failed"}


@pytest.mark.slow
@pytest.mark.parametrize(("end", "status"), [("raise ValueError('his')", "failed"), ("", "finished")])
def test_what_is_trained_in_it_after_its_own_finish_says_how_it_has_ended(
    tmp_path: Path, end: str, status: str
) -> None:
    again = "\nhis.finish()\nLogisticRegression().fit([[0.], [1.]], [0, 1])\n"
    run(tmp_path, HIS + again + end, code=1 if end else 0)
    (his,) = read(tmp_path)  # it is still Trackio's current run
    assert (his["config"]["status"], his["config"]["mine"]) == (status, 1)
    assert his["config"].get("error") == ("ValueError: his" if end else None)


@pytest.mark.slow
def test_it_is_running_while_it_runs_and_crashed_once_its_process_is_gone(tmp_path: Path) -> None:
    process = start(
        tmp_path, HIS + "print(autolog.finish(), flush=True)\nprint(1, flush=True)\ntime.sleep(300)"
    )
    until_told(process, 1)
    (his,) = read(tmp_path)
    assert his["config"]["status"] == "running"
    process.kill()
    process.communicate()
    run(tmp_path, "autolog.finish()")
    (his,) = read(tmp_path)
    assert his["config"]["status"] == "crashed"
    assert his["config"]["mine"] == 1
    assert [alert["title"] for alert in his["alerts"]] == ["his crashed"]


@pytest.mark.slow
def test_a_status_of_the_users_own_stays(tmp_path: Path) -> None:
    program = HIS.replace('{"mine": 1}', '{"mine": 1, "status": "his word"}')
    run(tmp_path, program + "raise ValueError('his')", code=1)
    (his,) = read(tmp_path)
    assert his["config"]["status"] == "his word"


def test_what_a_hook_has_left_open_in_it_ends_with_it(tmp_path: Path) -> None:
    run(
        tmp_path,
        HIS
        + """
from sklearn.linear_model import SGDClassifier
for model in SGDClassifier(), SGDClassifier():  # partial_fit: nobody says which is the last
    model.partial_fit([[0.], [1.]], [0, 1], classes=[0, 1])
trackio.finish()
autolog.finish()
os.kill(os.getpid(), signal.SIGKILL)
""",
        code=-signal.SIGKILL,
    )
    kept = {one["name"].partition(" ")[0]: one["config"]["status"] for one in read(tmp_path)}
    assert kept == {"his": "finished", "SGD": "finished"}


@pytest.mark.slow
def test_its_machine_is_sampled_unless_trackio_does_so(tmp_path: Path) -> None:
    program = HIS.replace("log_code=False", "log_code=False, system_interval=0.2")
    waiting = "\nprint(1, flush=True)\ntime.sleep(300)"
    process = start(tmp_path, program + waiting)
    until_on_disk(tmp_path, '"kind":"system"')
    process.kill()
    process.communicate()

    run(tmp_path / "theirs", program.replace("auto_log_cpu=False", "auto_log_cpu=True") + "time.sleep(2)")
    (his,) = read(tmp_path / "theirs")
    assert his["system"] == []  # theirs would be every ten seconds


def test_threads_that_train_in_it_at_once_write_to_one_and_the_same(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
import contextvars, threading
import trackio
from autolog.core import adopting

make, runs = adopting.make, []

def slow(*args, **kwargs):
    time.sleep(0.1)
    return make(*args, **kwargs)

adopting.make = slow
trackio.init(project="p", name="his", embed=False, auto_log_cpu=False, auto_log_gpu=False)
adopt = lambda: runs.append(adopting.adopted_run())
threads = [threading.Thread(target=contextvars.copy_context().run, args=(adopt,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
trackio.finish()
print(len(set(map(id, runs))), {run.status for run in runs})
""",
    )
    assert out.splitlines()[-1] == "1 {'finished'}"


@pytest.mark.slow
def test_ctrl_c_while_we_end_it_keeps_trackio_from_nothing(tmp_path: Path) -> None:
    run(
        tmp_path,
        HIS
        + """
from autolog.core import ending

end = ending._end_adopted

def interrupted(*args):
    ending._end_adopted = end
    raise KeyboardInterrupt

ending._end_adopted = interrupted
trackio.log({f"its/{number}": 1 for number in range(5)})
try:
    trackio.finish()
except KeyboardInterrupt:
    assert his._stop_flag.is_set()  # Trackio's own finish was called
else:
    raise SystemExit(2)
""",
    )
    (his,) = read(tmp_path)
    assert his["config"]["status"] == "finished"
    assert values(his, "its/4") == [1]
