"""The same work in several ways, in turns: interleaved on one thread, each way in a process of its own.

In one process each way would be slowed by what the others have left behind: patches, services, threads that
wake up. (A step of Lightning's took 2.1 ms instead of 1.6, recorded or not, where W&B and MLflow had been.)
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.ways import BARE, Recorded, Way, is_installed

SELDOM = 5  # turns of which a slow way takes one

Work = Callable[..., float]
"""Does the work, recording itself as it is told, and returns the seconds that a user waits for it."""


@dataclass
class Workload:
    """What is measured.

    Attributes:
        title: what is done, with how many steps.
        work: see above.
        ways: to record it; the first one is bare. Those that are not installed are missing.
        versions: of what does the work.
        missing: peers that are not there, or have no such integration.
        goal: what is promised, for the table.
        pieces: fits, steps or trials in one turn: what an overhead is told per piece of.
        piece: the word for one of them.
        by_clock: whether its CPU time says nothing, since that is of other things or processes, too.
    """

    title: str
    work: Work
    ways: list[Way]
    versions: str
    missing: list[str] = field(default_factory=list)
    goal: str = ""
    pieces: int = 1
    piece: str = "call"
    by_clock: bool = False

    def __post_init__(self) -> None:
        needed = {package: name for way in self.ways for package, name in way.needs.items()}
        absent = {package for package in needed if not is_installed(package)}
        self.ways = [way for way in self.ways if absent.isdisjoint(way.needs)]
        self.missing = [*self.missing, *(f"{needed[package]} is not installed" for package in sorted(absent))]


@dataclass
class Result:
    """One way's times, in seconds.

    Attributes:
        turns: the numbers of the turns that it took.
        wall: what the user waits for the work, in each of them.
        cpu: of all threads, and of processes that a tracker starts, until all has arrived: drawn, and in
            the database.
        is_slow: whether it was passed over in most turns.
        is_cold: whether the call that warms up is the only one, and counts.
        wrong: why it could not be measured.
        beyond: see :class:`benchmarks.ways.Way`.
    """

    name: str
    turns: list[int] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    recorded: Recorded = field(default_factory=Recorded)
    is_slow: bool = False
    is_cold: bool = False
    wrong: str | None = None
    beyond: str = "bare"


def measure(
    workload: Workload, turns: int, tell: Callable[[str], None], patience: float = float("inf")
) -> list[Result]:
    """Run every way once to warm up, which imports, and then in turns, each in an order of its own.

    (What a way still does after its call is done beside the next one: not always beside the same.)

    Args:
        tell: is told the name of each way before its turn, also of one that is passed over.
        patience: for a way, in seconds on top of bare. Where its first call, which warms up, took longer, it
            takes each fifth turn only; of fewer than five turns none: then that call counts, and variants of
            that way are left out.

    Raises:
        Failed: it cannot be done bare.
    """
    with contextlib.ExitStack() as ends:
        apart = {way.name: Apart(workload, way) for way in workload.ways}
        for one in apart.values():
            ends.callback(one.end)
        return _measure(workload, apart, turns, tell, patience)


def _measure(
    workload: Workload, apart: dict[str, Apart], turns: int, tell: Callable[[str], None], patience: float
) -> list[Result]:
    results = {way.name: Result(way.name, beyond=way.beyond) for way in workload.ways}
    before_turns: dict[str, Recorded] = {}
    first_seconds: list[float] = []  # bare's and the others'
    ways = list(workload.ways)
    for turn in range(turns + 1):
        if turn:
            random.Random(turn).shuffle(ways)
        for way in ways:
            result = results[way.name]
            tell(way.name)
            for other in results.values():
                if other.is_cold and way.name.startswith(f"{other.name}, "):
                    result.wrong = f"{other.name} takes {other.wall[0]:.0f} s already"
            is_passed_over = turn > 0 and result.is_slow and (result.is_cold or turn % SELDOM)
            if is_passed_over or result.wrong is not None:
                continue
            try:
                seconds, cpu = apart[way.name].call()
            except Failed as failure:
                if way is BARE:
                    raise
                result.wrong = str(failure)[:200]
                continue
            if turn == 0:
                first_seconds.append(seconds)
                result.is_slow = seconds - first_seconds[0] > patience
                result.is_cold = result.is_slow and turns < SELDOM
            if turn or result.is_cold:
                result.turns.append(turn or 1)  # beside bare's first turn, if it has none
                result.wall.append(seconds)
                result.cpu.append(cpu)
            if not turn:
                before_turns[way.name] = Recorded() if result.is_cold else apart[way.name].recorded()
    for way in workload.ways:
        result = results[way.name]
        if result.wrong is None:
            result.recorded = apart[way.name].recorded().since(before_turns[way.name]).per(len(result.wall))
    return list(results.values())


class Failed(Exception):  # noqa: N818 - it is told in the table
    """A way cannot be measured; says why."""


class Apart:
    """One way to do the work, in a process of its own that is forked from this one; without forks, here."""

    def __init__(self, workload: Workload, way: Way):
        self._workload, self._way = workload, way
        self._process: Any = None
        if sys.platform == "linux":
            context = multiprocessing.get_context("fork")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=self._serve, args=(theirs, os.getpid()))
            self._process.start()
            theirs.close()

    def call(self) -> tuple[float, float]:
        """Do the work once: the seconds that it took, and the CPU time until all has arrived.

        Raises:
            Failed: it cannot be done in this way.
        """
        seconds, cpu = self._ask("call")
        return seconds, cpu

    def recorded(self) -> Recorded:
        """What this way has recorded so far."""
        recorded: Recorded = self._ask("recorded")
        return recorded

    def end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
            self._process.kill()
            self._process.join()

    def _ask(self, what: str) -> Any:
        if self._process is None:
            answer, wrong = self._answer(what)
        else:
            self._pipe.send(what)
            try:
                answer, wrong = self._pipe.recv()
            except EOFError:
                answer, wrong = None, "its process has ended"
        if wrong is not None:
            raise Failed(wrong)
        return answer

    def _serve(self, pipe: Any, parent: int) -> None:
        while os.getppid() == parent:
            if pipe.poll(timeout=10.0):
                pipe.send(self._answer(pipe.recv()))

    def _answer(self, what: str) -> tuple[Any, str | None]:
        try:
            return (self._way.recorded() if what == "recorded" else self._called()), None
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"

    def _called(self) -> tuple[float, float]:
        gc.collect()
        before = cpu_seconds()
        with self._way.on() as given:
            seconds = self._workload.work(**given)
        return seconds, cpu_seconds() - before


def cpu_seconds() -> float:
    """CPU time of this process and of those that it has started, whether they have ended or not."""
    ended = os.times()
    spent = time.process_time() + ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            spent += times.user + times.system
    return spent


def beside(mine: dict[str, Any], other: dict[str, Any], kind: str) -> list[tuple[float, float]]:
    """A way's times and bare's, or another one's, of the same turns; both as a dict of :class:`Result`.

    Args:
        kind: ``wall`` or ``cpu``.
    """
    of_turn = dict(zip(other["turns"], other[kind], strict=True))
    return [(time, of_turn[turn]) for turn, time in zip(mine["turns"], mine[kind], strict=True)]


def of_bare(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Median, least and most of the ratios."""
    ratios = sorted(mine / bare for mine, bare in pairs)
    return statistics.median(ratios), ratios[0], ratios[-1]


def on_top(pairs: list[tuple[float, float]]) -> float:
    """What is more, in the middle of all turns."""
    return statistics.median(mine - other for mine, other in pairs)
