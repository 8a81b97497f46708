"""The benchmarks measure what they say, and count what was recorded; how long it took is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.steps import KERAS, LIGHTNING, TRANSFORMERS, Blocks
from benchmarks.turns import Workload, beside, measure, of_bare, on_top
from benchmarks.ways import BARE, Recorded, Way

HERE = Path(__file__).parents[1]


@pytest.mark.exhaustive
def test_a_workload_is_measured_in_all_ways_and_what_they_recorded_stands_beside() -> None:
    pytest.importorskip("optuna")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.one", "optuna_study", "1", "0.05", "inf"],
        cwd=HERE,
        env={key: value for key, value in os.environ.items() if not key.startswith("AUTOLOG_")},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    *_, last = done.stdout.splitlines()
    found = json.loads(last)["result"]
    assert [result["name"] for result in found["results"] if result["wrong"]] == []
    by_name = {result["name"]: result["recorded"] for result in found["results"]}
    assert {"bare", "autolog", "autolog, everything on"} <= by_name.keys()
    assert all(len(result["wall"]) == len(result["cpu"]) == 1 for result in found["results"])
    assert not any(by_name["bare"].values())
    ours = by_name["autolog"]
    assert (found["pieces"], ours["runs"], ours["rows"]) == (15, 1, 15)
    assert by_name["autolog, everything on"]["runs"] == 16  # the study, and each trial
    assert ours["overhead_seconds"] > 0
    assert by_name["Trackio by hand, a run per trial"]["runs"] == 15


def test_each_turn_has_an_order_of_its_own_and_the_first_is_to_warm_up() -> None:
    order: list[str] = []
    calls: list[int] = []  # each way has a process, and so a list of its own
    ways = [BARE, *(Way(name, BARE.on, lambda: Recorded(rows=7.0 * sum(calls))) for name in "ab")]
    workload = Workload("nothing", lambda: calls.append(len(calls)) or 2.0, ways, "")  # type: ignore[func-returns-value]
    results = measure(workload, 2, order.append)
    turns = [order[:3], order[3:6], order[6:]]
    assert turns[0] == ["bare", "a", "b"]
    assert all(sorted(turn) == ["a", "b", "bare"] for turn in turns)
    assert turns[1] != turns[2]
    assert [result.wall for result in results] == [[2.0, 2.0]] * 3
    assert results[1].recorded.rows == 7.0 * (1 + 2) / 2  # of what came after the warm-up, per turn
    assert not calls


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_what_a_way_leaves_behind_is_left_in_its_own_process() -> None:
    left: list[str] = []
    ways = [BARE, Way("leaves something", lambda: nullcontext({"behind": ["x"] * 50}))]

    def work(behind: list[str] = []) -> float:  # noqa: B006
        left.extend(behind)
        return float(len(left))

    bare, other = measure(Workload("nothing", work, ways, ""), 2, lambda name: None)
    assert (bare.wall, other.wall, left) == ([0, 0], [100, 150], [])


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_way_whose_process_ends_is_named() -> None:
    ways = [BARE, Way("ends", lambda: nullcontext({"end": lambda: os._exit(1)}))]
    workload = Workload("nothing", lambda end=float: end() or 1.0, ways, "")
    found = measure(workload, 1, lambda name: None)
    assert [one.wrong for one in found] == [None, "its process has ended"]


def test_of_a_way_that_takes_too_long_the_first_call_counts() -> None:
    order: list[str] = []
    slow = Way("slow", lambda: nullcontext({"seconds": 9.0}), lambda: Recorded(rows=5.0))
    ways = [BARE, Way("fast", BARE.on), slow, Way("slow, every step", slow.on)]
    bare, fast, slow_one, variant = measure(
        Workload("nothing", lambda seconds=2.0: seconds, ways, ""), 2, order.append, patience=3.0
    )
    assert (bare.wall, fast.wall, slow_one.wall) == ([2.0, 2.0], [2.0, 2.0], [9.0])
    assert (bare.is_cold, fast.is_cold, slow_one.is_cold) == (False, False, True)
    assert len(slow_one.cpu) == 1
    assert (variant.wall, variant.wrong) == ([], "slow takes 9 s already")
    assert slow_one.recorded.rows == 5.0
    assert beside(asdict(slow_one), asdict(bare), "wall") == [(9.0, 2.0)]


def test_a_way_that_takes_too_long_takes_one_turn_of_five_beside_bares_of_that_turn() -> None:
    seconds = iter(range(100, 200))
    slow = Way("slow", lambda: nullcontext({"longer": 50}), lambda: Recorded())
    order: list[str] = []
    bare, slow_one = measure(
        Workload("nothing", lambda longer=0: float(next(seconds) + longer), [BARE, slow], ""),
        10,
        order.append,
        patience=3.0,
    )
    assert (bare.turns, slow_one.turns) == (list(range(1, 11)), [5, 10])
    assert order.count("slow") == 11  # also told where it is passed over
    assert beside(asdict(slow_one), asdict(bare), "wall") == [
        (slow_one.wall[0], bare.wall[4]),
        (slow_one.wall[1], bare.wall[9]),
    ]


def test_a_way_that_fails_is_named_and_the_others_go_on() -> None:
    def fail() -> object:
        raise ImportError("of the peer's own")

    workload = Workload("nothing", lambda: 1.0, [BARE, Way("peer", fail)], "")  # type: ignore[arg-type]
    bare, peer = measure(workload, 1, lambda name: None)
    assert bare.wrong is None
    assert peer.wrong == "ImportError: of the peer's own"


def test_a_peer_that_is_not_installed_is_named_once_and_left_out() -> None:
    absent = {"json": "JSON", "a_peer_of_nobody": "Nobody's"}
    ways = [BARE, Way("here", nullcontext, needs={"json": "JSON"})]
    ways += [Way(name, nullcontext, needs=absent) for name in ("one", "another")]
    workload = Workload("t", lambda: 1.0, ways, "", ["something else"])
    assert [way.name for way in workload.ways] == ["bare", "here"]
    assert workload.missing == ["something else", "Nobody's is not installed"]


def test_ratios_and_differences_are_of_the_same_turn() -> None:
    pairs = [(2.0, 1.0), (9.0, 3.0), (4.0, 4.0)]
    assert of_bare(pairs) == (2.0, 1.0, 3.0)
    assert on_top(pairs) == 1.0


def test_what_a_framework_does_by_itself_is_not_on_top_of_ours() -> None:
    pytest.importorskip("rich")
    from benchmarks.__main__ import rows_of

    seconds = {"bare": 1.0, "itself": 3.0, "ours": 3.5}
    ways = [BARE, *(Way(name, lambda name=name: nullcontext({"way": name})) for name in ("itself", "ours"))]  # type: ignore[misc]
    ways[2].beyond = "itself"
    found = measure(Workload("", lambda way="bare": seconds[way], ways, ""), 1, lambda name: None)
    rows = rows_of({"results": [asdict(one) for one in found], "pieces": 1, "by_clock": False})
    assert [row[2].split()[0] for row in rows[1:]] == ["3.000", "3.500"]  # of bare
    assert [row[4] for row in rows[1:]] == ["2 s", "500 ms"]  # on top


def test_recorded_and_unrecorded_steps_take_turns_and_neighbours_are_compared() -> None:
    switched: list[bool] = []
    blocks = Blocks(3, switched.append, 99)
    for _ in range(99):
        blocks.step()
    assert switched == [number % 2 == 0 for number in range(33)]
    # Those that warm up do not count.
    assert {kind: len(seconds) for kind, seconds in blocks.seconds.items()} == {True: 11, False: 11}
    blocks.seconds = {False: [1.0, 5.0] * 10, True: [1.5, 5.5] * 9 + [90.0, -90.0]}
    bare, more, error = blocks.on_top()
    assert (bare, more, error) == (3.0, 0.5, 0.0)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("framework", "way", "rows"),
    [
        (KERAS, "Trackio by hand", 300),
        (LIGHTNING, "autolog", 300),
        (LIGHTNING, "Trackio by hand", 300),
        (LIGHTNING, "Lightning itself, to a logger that drops it", 0),
        (TRANSFORMERS, "autolog", 300),
    ],
)
def test_recorded_steps_are_as_many_as_unrecorded_ones(framework: str, way: str, rows: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.steps", "--only", framework, way, "600"],
        cwd=HERE,
        env={key: value for key, value in os.environ.items() if not key.startswith("AUTOLOG_")},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert rows <= found["rows"] <= rows + 5  # and what is told once
    assert found["bare"] > 0
    assert found.keys() == {"bare", "more", "error", "beside", "rows"}
