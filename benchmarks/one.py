"""One workload in a process of its own, from which those of its ways are forked.

``python -m benchmarks.one keras_fit 5 1.0 inf`` (turns, share of the steps, patience) tells by lines of JSON
what it is doing, and what came out.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys

from benchmarks.turns import measure
from benchmarks.ways import set_up


def main(name: str, turns: int, share: float, patience: float) -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what peers and their processes print is none of the result

    def tell(kind: str, value: object) -> None:
        print(json.dumps({kind: value}), file=told, flush=True)

    set_up()
    workload = importlib.import_module(f"benchmarks.workloads.{name}").workload(share)
    tell("calls", len(workload.ways) * (turns + 1))
    results = measure(workload, turns, lambda way: tell("way", f"{name}: {way}"), patience)
    about = {
        item.name: getattr(workload, item.name)
        for item in dataclasses.fields(workload)
        if item.name not in ("work", "ways")
    }
    tell("result", {**about, "turns": turns, "results": [dataclasses.asdict(result) for result in results]})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
