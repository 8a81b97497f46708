"""What autolog costs, beside MLflow's autologging: ``python -m benchmarks``.

Bare, autolog and MLflow are interleaved in one process on one thread, so that all see the same machine; what
is printed are medians, and ratios to bare. MLflow comes with the ``bench`` extra; without it, that is said.
"""

from __future__ import annotations

import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="autolog-bench-"))
os.environ["AUTOLOG_QUIET"] = "1"
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

MOST_PEER_TURNS = 3  # it takes seconds where the others take milliseconds
PREDICTIONS = 200


def milliseconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return 1_000 * (time.perf_counter() - start)


def in_a_new_interpreter(before: str, timed: str, repeat: int = 7) -> float:
    """Median milliseconds of a statement in a fresh interpreter, after others."""
    clock = "time.perf_counter()"
    program = f"{before}\nimport time\nt = {clock}\n{timed}\nprint(1000 * ({clock} - t))"
    results = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
        for _ in range(repeat)
    ]
    return statistics.median(results)


class MLflow:
    """MLflow's autologging at its defaults, into a SQLite file."""

    def __init__(self) -> None:
        try:
            import mlflow
        except ImportError:
            self.mlflow: Any = None
            return
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.mlflow = mlflow
        mlflow.set_tracking_uri(f"sqlite:///{tempfile.mkdtemp(prefix='mlflow-bench-')}/mlflow.db")
        mlflow.set_experiment("bench")

    @contextmanager
    def enabled(self) -> Iterator[None]:
        self.mlflow.sklearn.autolog(silent=True)
        try:
            yield
        finally:
            self.mlflow.sklearn.autolog(disable=True, silent=True)


def side_by_side(work: Callable[[], object], repeat: int, peer: MLflow) -> tuple[float, float, float | None]:
    """Median milliseconds of the same work: bare, recorded by autolog, recorded by MLflow."""
    import autolog

    bare, recorded, by_peer = [], [], []
    with autolog.enabled("sklearn"):
        work()  # Trackio is imported now, the journal is open
    autolog.finish()
    for turn in range(repeat):
        bare.append(milliseconds(work))
        with autolog.enabled("sklearn"):
            recorded.append(milliseconds(work))
        autolog.finish()  # delivery is counted apart: it is not the caller's time
        if peer.mlflow is not None and turn < MOST_PEER_TURNS:
            with peer.enabled():
                by_peer.append(milliseconds(work))
    found = statistics.median(by_peer[1:] or by_peer) if by_peer else None  # its first call imports
    return statistics.median(bare), statistics.median(recorded), found


def row(what: str, bare: float | None, recorded: float, by_peer: float | None = None) -> None:
    ratio = f"{recorded / bare:6.2f} x" if bare else ""
    base = f"{bare:9.3f}" if bare is not None else ""
    peer = f"{by_peer:10.1f} {by_peer / bare:8.1f} x" if by_peer is not None and bare else ""
    print(f"{what:<50} {base:>9} {recorded:10.3f} {ratio:>9} {peer:>21}", flush=True)


def main() -> None:
    import numpy as np
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    import autolog

    print(f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, {os.cpu_count()} cores")
    peer = MLflow()
    name = f"MLflow {peer.mlflow.__version__}" if peer.mlflow is not None else "MLflow: not installed"
    print(f"{'milliseconds, medians':<50} {'bare':>9} {'autolog':>10} {'ratio':>9} {name:>21}")

    row("import autolog", None, in_a_new_interpreter("", "import autolog"))
    row("enable(), nothing imported", None, in_a_new_interpreter("import autolog", "autolog.enable()"))
    imported = "import sklearn.linear_model, autolog"
    row("enable(), scikit-learn imported before", None, in_a_new_interpreter(imported, "autolog.enable()"))

    X, y = make_classification(2_000, 20, random_state=0)
    row(
        "LogisticRegression fit, 2,000 x 20",
        *side_by_side(lambda: LogisticRegression().fit(X, y), 40, peer),
    )
    row(
        "RandomForest fit, 100 trees, 2,000 x 20",
        *side_by_side(lambda: RandomForestClassifier(random_state=0).fit(X, y), 7, peer),
    )
    grid = {"C": list(np.logspace(-3, 3, 40))}
    row(
        "GridSearchCV, 40 candidates x 3 folds",
        *side_by_side(lambda: GridSearchCV(LogisticRegression(), grid, cv=3).fit(X, y), 15, peer),
    )

    model = LogisticRegression()
    with autolog.enabled("sklearn"):
        model.fit(X, y)
    one = X[:1]
    predictions = lambda: [model.predict(one) for _ in range(PREDICTIONS)]  # noqa: E731
    bare, recorded, by_peer = [], [], []
    for turn in range(20):
        bare.append(milliseconds(predictions) / PREDICTIONS)
        with autolog.enabled("sklearn"):
            recorded.append(milliseconds(predictions) / PREDICTIONS)
        if peer.mlflow is not None and turn < MOST_PEER_TURNS:
            with peer.enabled():
                model.fit(X, y)
                by_peer.append(milliseconds(predictions) / PREDICTIONS)
            with autolog.enabled("sklearn"):
                model.fit(X, y)
    autolog.finish()
    median = statistics.median
    row(
        "predict of one row, recorded model",
        median(bare),
        median(recorded),
        median(by_peer) if by_peer else None,
    )

    with autolog.run() as run:
        steps = 20_000
        metrics = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
        spent = milliseconds(lambda: [run.log(metrics) for _ in range(steps)])
    row("run.log of four metrics, the caller's time", None, spent / steps)
    start = time.perf_counter()
    while not autolog.finish():
        pass
    row("the same, delivered to SQLite (wall, per row)", None, 1_000 * (time.perf_counter() - start) / steps)


if __name__ == "__main__":
    main()
