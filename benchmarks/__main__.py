"""What autolog costs: ``python -m benchmarks``.

Bare and recorded are interleaved in one process on one thread, so that both see the same machine; what is
printed are medians and their ratio. The peers come with the ``bench`` extra, in a later version.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="autolog-bench-"))
os.environ["AUTOLOG_QUIET"] = "1"
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"


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


def side_by_side(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Median milliseconds of the same work, bare and recorded."""
    import autolog

    bare, recorded = [], []
    with autolog.enabled("sklearn"):
        work()  # Trackio is imported now, the journal is open
    autolog.finish()
    for _ in range(repeat):
        bare.append(milliseconds(work))
        with autolog.enabled("sklearn"):
            recorded.append(milliseconds(work))
        autolog.finish()  # delivery is counted apart: it is not the caller's time
    return statistics.median(bare), statistics.median(recorded)


def row(what: str, bare: float | None, recorded: float) -> None:
    ratio = f"{recorded / bare:6.2f} x" if bare else ""
    base = f"{bare:9.3f}" if bare is not None else ""
    print(f"{what:<58} {base:>9} {recorded:10.3f} {ratio:>9}", flush=True)


def main() -> None:
    import numpy as np
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    import autolog

    print(f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, {os.cpu_count()} cores")
    print(f"{'milliseconds, medians':<58} {'bare':>9} {'autolog':>10} {'ratio':>9}")

    row("import autolog", None, in_a_new_interpreter("", "import autolog"))
    row("enable(), nothing imported", None, in_a_new_interpreter("import autolog", "autolog.enable()"))
    imported = "import sklearn.linear_model, autolog"
    row("enable(), scikit-learn imported before", None, in_a_new_interpreter(imported, "autolog.enable()"))

    X, y = make_classification(2_000, 20, random_state=0)
    row(
        "LogisticRegression fit, 2,000 x 20",
        *side_by_side(lambda: LogisticRegression().fit(X, y), 40),
    )
    row(
        "RandomForest fit, 100 trees, 2,000 x 20",
        *side_by_side(lambda: RandomForestClassifier(random_state=0).fit(X, y), 5),
    )
    grid = {"C": list(np.logspace(-3, 3, 40))}
    row(
        "GridSearchCV, 40 candidates x 3 folds",
        *side_by_side(lambda: GridSearchCV(LogisticRegression(), grid, cv=3).fit(X, y), 5),
    )

    model = LogisticRegression()
    with autolog.enabled("sklearn"):
        model.fit(X, y)
    one, bare, recorded = X[:1], [], []
    for _ in range(20):
        bare.append(milliseconds(lambda: [model.predict(one) for _ in range(200)]) / 200)
        with autolog.enabled("sklearn"):
            recorded.append(milliseconds(lambda: [model.predict(one) for _ in range(200)]) / 200)
    row("predict of one row, recorded model", statistics.median(bare), statistics.median(recorded))

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
