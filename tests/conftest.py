"""What every test stands on: a Trackio directory of its own, no network, no fault left unseen."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autolog.core import live

# Before anything imports Trackio, which fixes its directory then.
_home = tempfile.mkdtemp(prefix="autolog-tests-")
os.environ["TRACKIO_DIR"] = os.path.join(_home, "trackio")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["AUTOLOG_QUIET"] = "1"
os.environ["AUTOLOG_REPORT"] = "0"  # hundreds of runs are recorded; tests of reports ask for them
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models are tiny, and tests run side by side
os.environ.setdefault("KERAS_BACKEND", "torch")  # JAX is tested in programs of their own
for _name in list(os.environ):
    if _name.startswith(("AUTOLOG_", "TRACKIO_")) and _name not in (
        "TRACKIO_DIR",
        "AUTOLOG_QUIET",
        "AUTOLOG_REPORT",
    ):
        del os.environ[_name]

# Hundreds of programs are started here: what one of them has compiled, the next one need not.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# In the background of a shell Ctrl-C is ignored, and so it would be by all programs that are started here.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import pytest  # noqa: E402

import autolog  # noqa: E402
from autolog.process import guard, hooks  # noqa: E402

# No test hangs on the clock. In CI the same examples come every time; at a desk new ones.
hypothesis.settings.register_profile(
    "autolog",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("autolog")


@pytest.fixture(autouse=True)
def no_fault_and_nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every fault that a shield swallowed fails the test, and nothing may be left patched or open."""
    guard.faults.clear()
    guard._told.clear()
    yield
    autolog.disable()
    assert hooks.installed() == []
    assert live.live_runs() == []
    if "expected_faults" not in request.fixturenames and guard.faults:
        raise AssertionError(f"faults of our own: {list(guard.faults)}\n{guard.faults[0].traceback}")


@pytest.fixture(scope="module", autouse=True)
def what_was_imported_is_not_collected_again() -> None:
    """A worker imports every framework in the end, and a full collection passes millions of objects.

    Keras and KerasTuner collect at every model: their tests took three times as long as by themselves.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def expected_faults() -> Iterator[list[guard.Fault]]:
    """For tests that cause faults on purpose: what was caught, to be looked at."""
    yield guard.faults  # type: ignore[misc]
    guard.faults.clear()


@pytest.fixture
def sink() -> autolog.MemorySink:
    """Records in memory."""
    return autolog.MemorySink()


@pytest.fixture
def recording(sink: autolog.MemorySink) -> Iterator[autolog.MemorySink]:
    """scikit-learn is being recorded, into memory, whatever it costs: no test shall hang on the clock."""
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


@pytest.fixture
def trackio_dir() -> Path:
    """Where Trackio keeps its files in this test session."""
    return Path(os.environ["TRACKIO_DIR"])
