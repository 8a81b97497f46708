"""What it costs that a program has a tracker at all: its import, and turning it on, in a new interpreter."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import nullcontext

from benchmarks.turns import Workload
from benchmarks.ways import BARE, Way

STATEMENTS = {
    "import autolog": ("autolog", "", "import autolog"),
    "autolog.enable()": ("autolog", "import autolog", "autolog.enable()"),
    "autolog.enable(), scikit-learn imported": (
        "autolog",
        "import autolog, sklearn.linear_model",
        "autolog.enable()",
    ),
    "import trackio": ("trackio", "", "import trackio"),
    "import wandb": ("wandb", "", "import wandb"),
    "import mlflow": ("mlflow", "", "import mlflow"),
    "mlflow.autolog(), scikit-learn imported": (
        "mlflow",
        "import mlflow, sklearn.linear_model",
        "mlflow.autolog(silent=True)",
    ),
}


def seconds_of(before: str = "", timed: str = "import json") -> float:
    program = f"{before}\nimport time\nt = time.perf_counter()\n{timed}\nprint(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, check=True)
    return float(done.stdout)


def workload(share: float = 1.0) -> Workload:
    ways = [BARE]
    for name, (package, before, timed) in STATEMENTS.items():
        given = {"before": before, "timed": timed}
        needs = {package: package}
        ways.append(Way(name, lambda given=given: nullcontext(given), needs=needs))  # type: ignore[misc]
    return Workload(
        "A statement in a new interpreter (bare: import json)",
        seconds_of,
        ways,
        f"Python {platform.python_version()}",
        goal="import and enable in a few milliseconds",
        by_clock=True,
    )
