"""In a step the whole of Trackio's interface works as it does beside a bare run, and writes the same."""

from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import settings as settings_module
from tests.sinks.test_whole_run import bare_calls
from tests.trackios import Calls, stored

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from zenml import pipeline, step

from autolog.zenml import get_trackio_run

called: list[Calls] = []


@step(enable_cache=False)
def calls_everything(folder: str) -> None:
    called.append(Calls(get_trackio_run(), Path(folder)).all())


@pipeline
def whole_step(folder: str) -> None:
    calls_everything(folder)


def test_a_steps_run_is_the_whole_of_trackios(tracker: str, trackio_dir: Path, tmp_path: Path) -> None:
    called.clear()
    before = settings_module.in_force()
    settings_module.use(autolog.Settings(log_code=False, system_interval=0, finish_timeout=90.0))
    try:
        (tmp_path / "files").mkdir()
        bare = bare_calls(tmp_path / "files", "step-bare")
        said: dict[str, Any] = {"metadata": {"given": 1}, "run_name": "r"}
        whole_step.with_options(
            steps={
                "calls_everything": {"experiment_tracker": tracker, "settings": {"experiment_tracker": said}}
            }
        )(str(tmp_path / "files"))
        assert autolog.finish()
    finally:
        settings_module.use(before)
    (ours,) = called
    assert ours.said == bare.said
    there, here = (stored(trackio_dir, calls.run.project, "r") for calls in (bare, ours))
    assert here["config"]["given"] == 1
    assert (here["config"]["later"], here["config"]["too"]) == (3, 4)
    assert here["config"]["status"] == "finished"
    for kind in there.keys() - {"config"}:
        assert here[kind] == there[kind]
