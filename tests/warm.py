"""Programs that start at once: forked from an interpreter that has imported the frameworks.

Importing Keras, Lightning or transformers takes seconds, and the suite starts hundreds of programs. The
interpreter here has imported what takes long, nothing of ours and nothing of Trackio's, and has no second
thread. A program that is forked from it is ``__main__`` in its main thread and ends as any interpreter does.
Programs that are about importing, or about an environment that is read by an import, start by themselves.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Program", "forks"]

IMPORTED = [
    "torch", "sklearn.linear_model", "sklearn.datasets", "optuna", "keras", "lightning", "pytorch_lightning",
    "transformers.trainer",
    # What Trackio imports.
    "huggingface_hub", "gradio_client", "pandas", "starlette.applications", "uvicorn", "httpx", "orjson",
]  # fmt: skip
NO_THREADS = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
READ_BY_IMPORTS = ("PYTHON", "KERAS_", "HF_", "OMP_")


class Program:
    """A program that was forked: what the tests use of :class:`subprocess.Popen`."""

    def __init__(self, pid: int, status: int, stdout: int, stderr: int):
        self.pid = pid
        self.stdout, self.stderr = os.fdopen(stdout), os.fdopen(stderr)
        self.returncode: int | None = None
        self._status = os.fdopen(status)
        self._rest: list[Future[str]] = []

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["a program"], timeout or 0)
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        if not self._rest:
            pool = ThreadPoolExecutor(2)
            self._rest = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            pool.shutdown(wait=False)
        if wait(self._rest, timeout).not_done:
            raise subprocess.TimeoutExpired(["a program"], timeout or 0)
        self.wait(timeout)
        out, err = (part.result() for part in self._rest)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()


def forks(program: str, arguments: list[str], environment: dict[str, str]) -> Program:
    """Start ``program``, with these arguments and in this environment."""
    door, at_start = _interpreter()
    environment = {**environment, **{key: at_start[key] for key in (*NO_THREADS, "PYTHONPATH")}}
    for key in at_start.keys() | environment.keys():
        if key.startswith(READ_BY_IMPORTS) and at_start.get(key) != environment.get(key):
            raise ValueError(f"{key} is read by imports, which have been: start this program by itself")
    (out, to_out), (err, to_err), (status, to_status) = (os.pipe() for _ in range(3))
    asked = json.dumps([program, arguments, environment, os.getcwd()]).encode()
    socket.send_fds(door, [asked], [to_out, to_err, to_status])
    for fd in (to_out, to_err, to_status):
        os.close(fd)
    return Program(int(door.recv(100)), status, out, err)


@cache
def _interpreter() -> tuple[socket.socket, dict[str, str]]:
    """The way to it, and the environment that it was started with; it ends with this process."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, **NO_THREADS, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.Popen(
        [sys.executable, "-c", f"from tests.warm import serve; exec(serve({there.fileno()}))"],
        env=environment,
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    there.close()
    if here.recv(100) != b"ready":
        raise RuntimeError("the interpreter that programs are forked from did not start")
    return here, environment


# In the interpreter -----------------------------------------------------------------------------------


def serve(fd: int) -> CodeType:
    """Fork whenever asked; returns the program in each process that was forked."""
    door = socket.socket(fileno=fd)
    with contextlib.suppress(ImportError):  # where one is missing, whoever needs the rest imports it himself
        for name in IMPORTED:
            __import__(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork beside threads is not like a start"
    assert not [name for name in sys.modules if name.split(".")[0] in ("autolog", "trackio")]
    gc.collect()
    gc.freeze()
    door.send(b"ready")
    running: dict[int, int] = {}

    def reap(*signalled: object) -> None:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with open(running.pop(pid), "w") as told, contextlib.suppress(BrokenPipeError):
                    print(os.waitstatus_to_exitcode(status), file=told, flush=True)

    signal.signal(signal.SIGCHLD, reap)
    while True:
        asked, fds, _, _ = socket.recv_fds(door, 2**20, 3)
        if not asked:
            os._exit(0)
        out, err, status = fds
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            door.close()
            for other in (status, *running.values()):
                os.close(other)
            return _begin(json.loads(asked), out, err)
        running[pid] = status
        os.close(out)
        os.close(err)
        door.send(str(pid).encode())
        reap()


def _begin(asked: list[Any], out: int, err: int) -> CodeType:
    program, arguments, environment, folder = asked
    for fd, standard in ((out, 1), (err, 2)):
        os.dup2(fd, standard)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["-c", *arguments]
    del sys.modules["tests.warm"]
    return compile(program, "<string>", "exec")
