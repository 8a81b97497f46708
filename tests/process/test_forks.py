"""Who is told of a fork, in which order, and what a signal does that comes in the middle of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from autolog.process import forks


def in_a_process(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_everybody_is_called_in_the_order_that_is_written_down() -> None:
    out = in_a_process(
        """
        import os
        from autolog.process import forks
        orders = {"before": forks.BEFORE, "in_parent": forks.IN_PARENT, "in_child": forks.IN_CHILD}
        for when, order in orders.items():
            for who in reversed(order):  # whoever comes first
                call = lambda who=who, when=when: os.write(1, f"{when} {who}\\n".encode())
                forks.when_forked(who, **{when: call})
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        """
    )
    told = [line.split() for line in out.splitlines()]
    for when, order in (
        ("before", forks.BEFORE),
        ("in_parent", forks.IN_PARENT),
        ("in_child", forks.IN_CHILD),
    ):
        assert [who for at, who in told if at == when] == list(order)
    assert [at for at, _ in told][: len(forks.BEFORE)] == ["before"] * len(forks.BEFORE)


def test_imports_are_waited_for_before_sigterm_is_held_back() -> None:
    assert forks.BEFORE.index("imports") < forks.BEFORE.index("signals")
    assert forks.IN_CHILD[0] == "guard"


def test_who_has_no_turn_is_told_so() -> None:
    with pytest.raises(KeyError, match="write it down there"):
        forks.when_forked("somebody", in_child=lambda: None)


def test_one_that_fails_keeps_nobody_from_their_turn_and_the_fork_takes_place() -> None:
    out = in_a_process(
        """
        import os, sys
        from autolog.process import forks
        sys.unraisablehook = lambda told: print("failed", told.exc_value, flush=True)
        def fail(): raise RuntimeError("ours")
        forks.when_forked("guard", in_child=fail)
        forks.when_forked("rooms", in_child=lambda: print("called", flush=True))
        child = os.fork()
        if child == 0:
            os._exit(0)
        print("exit", os.waitpid(child, 0)[1])
        """
    )
    assert out.splitlines() == ["called", "failed ours", "exit 0"]


WAITING = """
import os, signal, sys, threading, time
import autolog
from autolog.core import settings
from autolog.process import threads
settings.use(autolog.Settings(sink="memory", log_code=False, quiet=True, system_interval=0))
sys.path.insert(0, {folder!r})
threads.MOST_SECONDS = 60.0
with autolog.run("r") as run:  # SIGTERM ends its run first
    begun = threading.Event()
    def importing():
        begun.set()
        import endless  # until a file is there
    threads.start("importing", importing)
    begun.wait()
    while not threads._is_importing():
        time.sleep(0.001)
    forking = threading.Timer(0.2, lambda: (open({folder!r} + "/forking", "w"), print("forking", flush=True)))
    forking.daemon = True
    forking.start()
    child = os.fork()  # waits for the import
    print("forked", flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="forks are POSIX's")
def test_a_sigterm_in_a_fork_that_waits_for_an_import_does_not_wait_for_it(tmp_path: Path) -> None:
    endless = (
        "import os, time\nwhile not os.path.exists(os.path.dirname(__file__) + '/end'): time.sleep(0.01)\n"
    )
    (tmp_path / "endless.py").write_text(endless)
    program = WAITING.format(folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "forking\n"  # it waits, and would for a minute
    process.send_signal(signal.SIGTERM)
    assert process.wait(50) == -signal.SIGTERM
    assert process.stdout.read() == "", "it ended in the middle of the fork, while the import went on"
