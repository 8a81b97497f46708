"""SIGKILL at random moments: at most the last half second is lost, and nothing else."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.programs import journals, read, run, start, values

KILLS = 12

PROGRAM = """
with autolog.run({name!r}, config={{"x": 1}}) as r:
    print("ready", flush=True)
    for n in range(1_000_000):
        r.log({{"m": n}})
        if n % 50 == 0:
            r.table(f"t/{{n}}", [{{"n": n}}])
            r.params({{"last": n}}, prefix="")
            print(n, time.time(), flush=True)
        time.sleep(0.0005)
"""


def test_kill_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(0)
    safe: dict[str, int] = {}
    for kill in range(KILLS):
        name = f"run-{kill}"
        process = start(tmp_path, PROGRAM.format(name=name))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 1.6))
        process.kill()
        killed = time.time()
        out, _ = process.communicate()
        told = [line.split() for line in out.splitlines()]
        on_disk = [int(words[0]) for words in told if len(words) == 2 and float(words[1]) < killed - 0.5]
        safe[name] = max(on_disk, default=-1)

    run(tmp_path, "with autolog.run('next'): pass\nassert autolog.finish()", AUTOLOG_FINISH_TIMEOUT="60")
    kept = {r["name"]: r for r in read(tmp_path)}
    for name, last in safe.items():
        if name not in kept:
            assert last == -1, "only one that lived less than half a second may be missing"
            continue
        logged = values(kept[name], "m")
        assert logged == list(range(len(logged))), "nothing doubled, nothing missing in between"
        assert len(logged) > last
        assert kept[name]["config"]["status"] == "crashed"
        assert kept[name]["config"].get("x", 1) == 1
        assert len(kept[name]["alerts"]) == 1
    assert sum(last >= 0 for last in safe.values()) >= KILLS // 3, (
        "the moments were too early to say anything"
    )
    assert journals(tmp_path) == []
