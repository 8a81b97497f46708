"""Programs that start at once: forked from an interpreter that has imported the frameworks.

Importing Keras, Lightning or transformers takes seconds, and the suite starts hundreds of programs. The
interpreter here has imported what takes long, nothing of ours and nothing of Trackio's, and has no second
thread. A program that is forked from it is ``__main__`` in its main thread and ends as any interpreter does.
Programs that are about importing, or about an environment that is read by an import, start by themselves.

Whoever starts scripts by a Python that they are told of, as torchrun does, can be told of :func:`executable`.
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
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Program", "executable", "forks"]

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


def forks(
    program: str,
    arguments: list[str],
    environment: dict[str, str],
    *,
    script: Path | None = None,
    folder: Path | None = None,
) -> Program:
    """Start ``program``, with these arguments and in this environment.

    Args:
        script: the file that it is from, if it is from one; then it has a session of its own and one output.
        folder: where it begins, if that is not here.
    """
    door, at_start, _ = _interpreter()
    environment = {**environment, **{key: at_start[key] for key in (*NO_THREADS, "PYTHONPATH")}}
    for key in at_start.keys() | environment.keys():
        if key.startswith(READ_BY_IMPORTS) and at_start.get(key) != environment.get(key):
            raise ValueError(f"{key} is read by imports, which have been: start this program by itself")
    (out, to_out), (err, to_err), (status, to_status) = (os.pipe() for _ in range(3))
    file = None if script is None else str(script)
    asked = json.dumps([program, arguments, environment, str(folder or Path.cwd()), file]).encode()
    socket.send_fds(door, [asked], [to_out, to_err, to_status])
    for fd in (to_out, to_err, to_status):
        os.close(fd)
    return Program(int(door.recv(100)), status, out, err)


@cache
def executable() -> str:
    """A file that runs a script as Python does, `-u script.py arguments`, in a process that is forked."""
    *_, address = _interpreter()
    path = Path(tempfile.mkdtemp(prefix="autolog-warm-"), "python")
    path.write_text(f"#!{sys.executable} -IS\nADDRESS = {address!r}\n{_STANDING_IN}")
    path.chmod(0o700)
    return str(path)


# A process that stands for the one that was forked: ends with it and as it does, and hands its signals on.
_STANDING_IN = """
import json, os, signal, socket, sys

_, unbuffered, script, *arguments = sys.argv
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.connect(ADDRESS)
with open(script) as file:
    asked = json.dumps([file.read(), arguments, dict(os.environ), os.getcwd(), script])
ended, status = os.pipe()
socket.send_fds(door, [asked.encode()], [1, 2, status])
os.close(status)
pid = int(door.recv(100))
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: os.kill(pid, number))
code = int(os.fdopen(ended).readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def _interpreter() -> tuple[socket.socket, dict[str, str], str]:
    """The way to it, the environment that it was started with, and its address; it ends with this process."""
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
    if not (address := here.recv(1_000)):
        raise RuntimeError("the interpreter that programs are forked from did not start")
    return here, environment, address.decode()


# In the interpreter -----------------------------------------------------------------------------------


def serve(fd: int) -> CodeType:
    """Fork whenever asked; returns the program in each process that was forked."""
    door = socket.socket(fileno=fd)
    with contextlib.suppress(ImportError):  # where one is missing, who needs the rest imports it
        for name in IMPORTED:
            __import__(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork beside threads is not like a start"
    assert not [name for name in sys.modules if name.split(".")[0] in ("autolog", "trackio")]
    gc.collect()
    gc.freeze()
    others = _door_for_others()
    door.send(others.getsockname())
    at_start = {key: value for key, value in os.environ.items() if key.startswith(READ_BY_IMPORTS)}
    running: dict[int, int] = {}
    standing: dict[socket.socket, int] = {}  # who stands for whom

    def reap(*signalled: object) -> None:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with open(running.pop(pid), "w") as told, contextlib.suppress(BrokenPipeError):
                    print(os.waitstatus_to_exitcode(status), file=told, flush=True)

    signal.signal(signal.SIGCHLD, reap)
    while True:
        (asking, *_), _, _ = select.select([door, others, *standing], [], [])
        if asking in standing:  # who stood for another one is gone, and so shall that one be
            if (pid := standing.pop(asking)) in running:
                os.kill(pid, signal.SIGKILL)
            asking.close()
            continue
        asked_at = asking if asking is door else others.accept()[0]
        asked, fds, _, _ = socket.recv_fds(asked_at, 2**20, 3)
        if not asked:  # who asked is gone, whether the tests or one of the others
            if asked_at is door:
                os._exit(0)
            continue
        out, err, status = fds
        program = json.loads(asked)
        if asked_at is not door:  # an environment that was made for another interpreter
            program[2] = {k: v for k, v in program[2].items() if not k.startswith(READ_BY_IMPORTS)} | at_start
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for open_here in (door, others, asked_at, *standing):
                open_here.close()
            for other in (status, *running.values()):
                os.close(other)
            return _begin(program, out, err)
        running[pid] = status
        if asked_at is not door:
            standing[asked_at] = pid
        os.close(out)
        os.close(err)
        with contextlib.suppress(BrokenPipeError):  # gone already; it is seen above
            asked_at.send(str(pid).encode())
        reap()


def _door_for_others() -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(f"\0autolog-tests-{os.getpid()}")  # in no folder
    door.listen()
    return door


def _begin(asked: list[Any], out: int, err: int) -> CodeType:
    program, arguments, environment, folder, script = asked
    for fd, standard in ((out, 1), (err, 2)):
        os.dup2(fd, standard)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if script is not None:
        sys.modules["__main__"].__file__ = script
        sys.path[0] = os.path.dirname(script)
        os.setsid()
        os.dup2(1, 2)
    sys.argv = [script or "-c", *arguments]
    del sys.modules["tests.warm"]
    # Not with what this file imports from the future.
    return compile(program, script or "<string>", "exec", dont_inherit=True)
