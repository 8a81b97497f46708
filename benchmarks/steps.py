"""What one more recorded step costs, to a few microseconds: ``python -m benchmarks.steps``, or ``--quick``.

Two trainings differ by more than a recorder costs: by a machine that is faster now and slower then. So here
recorded and unrecorded steps take turns in one training, in blocks of some tens of milliseconds, and what is
told is the mean difference between neighbours, without the tenth that differs most at either end, and its
standard error. What threads do beside falls into both kinds of blocks: it stands alone, as CPU time per
recorded step of this process's other threads and of the processes that it has started, of the second half.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from autolog import Settings
from benchmarks.turns import cpu_seconds
from benchmarks.ways import SCRATCH, in_trackio, set_up

WARM_UP = 10  # blocks
DELIVERY = 2.0  # seconds after which the last rows have been delivered
PROJECT = "steps"
# The budget is a share of the whole time, and half of the steps are recorded.
OURS: dict[str, Any] = {"project": PROJECT, "budget": Settings().budget / 2}
KERAS, LIGHTNING = "Keras on torch, a small network", "Lightning, a small network"
TRANSFORMERS = "transformers, a tiny GPT-2"
WAYS = {
    KERAS: ["autolog", "autolog, no gradient norms", "Trackio by hand"],
    LIGHTNING: [
        "autolog",
        "autolog, no gradient norms",
        "Trackio by hand",
        "Lightning's CSVLogger",
        "Lightning itself, to a logger that drops it",
    ],
    TRANSFORMERS: ["autolog", "autolog, no norms per module", 'report_to="trackio"'],
}
STEPS = {KERAS: 9_000, LIGHTNING: 12_000, TRANSFORMERS: 3_000}
BLOCK = {KERAS: 20, LIGHTNING: 25, TRANSFORMERS: 6}


class Blocks:
    """Turns recording on and off, block by block, and takes the time of each.

    Args:
        size: steps in a block.
        switch: called with whether the next block is recorded.
        steps: in the training.
    """

    def __init__(self, size: int, switch: Callable[[bool], object], steps: int):
        self.is_on = False
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self._size, self._switch = size, switch
        self._steps, self._half = 0, steps // 2
        self._began = 0.0
        self._beside = 0.0

    def step(self) -> None:
        """A step begins."""
        if self._steps == self._half:
            self._beside = cpu_beside()
        if self._steps % self._size == 0:
            if self._steps > WARM_UP * self._size:
                self.seconds[self.is_on].append((time.perf_counter() - self._began) / self._size)
            self.is_on = not self.is_on
            self._switch(self.is_on)
            self._began = time.perf_counter()
        self._steps += 1

    def on_top(self) -> tuple[float, float, float]:
        """Seconds of an unrecorded step, those that a recorded one takes more, and their standard error."""
        pairs = zip(self.seconds[True], self.seconds[False], strict=False)
        more = sorted(recorded - bare for recorded, bare in pairs)
        tenth = len(more) // 10
        more = more[tenth : len(more) - tenth]
        error = statistics.stdev(more) / len(more) ** 0.5
        return statistics.median(self.seconds[False]), statistics.mean(more), error

    def beside(self) -> float:
        """CPU seconds per recorded step that were spent beside, once all has arrived."""
        time.sleep(DELIVERY)
        recorded = (self._steps - self._half) / 2
        return (cpu_beside() - self._beside) / recorded


def cpu_beside() -> float:
    """CPU time of all but this thread."""
    return cpu_seconds() - time.thread_time()


def keras(way: str, steps: int, size: int) -> Blocks:
    """Keras tells of each batch; a recorder hears of those of a recorded block."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    ours: list[Any] = []
    write: Any = None
    if way.startswith("autolog"):
        import autolog

        autolog.enable("keras", log_gradients=way == "autolog", log_every_n_steps=1, **OURS)
    else:
        import trackio

        trackio.init(project=PROJECT)
        write = trackio.log

    class Switch(keras.callbacks.Callback):  # type: ignore[misc]
        told: Any = None

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if self.told is None:
                self.told = sys._getframe(1).f_locals["self"]  # the list of callbacks, which Keras hides
                ours.extend(filter(_is_recorder, self.told.callbacks))
            blocks.step()

    class ByHand(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            write({f"train/{key}": value for key, value in logs.items()}, step=batch)

    def switch(is_on: bool) -> None:
        others = [each for each in callback.told.callbacks if each not in ours]
        callback.told.callbacks = others + ours * is_on

    blocks, callback = Blocks(size, switch, steps), Switch()
    X = np.random.default_rng(0).normal(size=(steps * 32, 32)).astype("float32")
    hidden = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((32,)), *hidden, keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = [callback, *([ByHand()] if write is not None else [])]
    model.fit(X, (X[:, 0] + X[:, 1] > 0).astype("int32"), batch_size=32, verbose=0, callbacks=callbacks)
    return blocks


def _is_recorder(callback: Any) -> bool:
    kind = type(callback)
    return kind.__module__.startswith("autolog") or kind.__name__ in ("ByHand", "TrackioCallback")


def lightning(way: str, steps: int, size: int) -> Blocks:
    """Each step of a recorded block is logged; without a recorder or logger Lightning logs none."""
    import logging

    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.loggers import CSVLogger

    from benchmarks.workloads.lightning_fit import parts

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    Network, ByHand, Dropping = parts()
    ours: list[Any] = []
    write: Any = None
    if way.startswith("autolog"):
        import autolog

        autolog.enable("lightning", log_gradients=way == "autolog", **OURS)
    elif way == "Trackio by hand":
        import trackio

        trackio.init(project=PROJECT)
        write = trackio.log

    class Switch(pl.Callback):  # type: ignore[misc]
        def on_train_batch_start(self, *args: Any) -> None:
            if not ours:  # ours has come with the fit
                ours.extend(filter(_is_recorder, trainer.callbacks))
            blocks.step()

    def switch(is_on: bool) -> None:
        trainer.callbacks = [each for each in trainer.callbacks if each not in ours] + ours * is_on
        trainer.log_every_n_steps = 1 if is_on or write is not None else 10**9

    loggers = {
        "Lightning's CSVLogger": lambda: CSVLogger(str(SCRATCH / "csv")),
        "Lightning itself, to a logger that drops it": Dropping,
    }
    blocks = Blocks(size, switch, steps)
    trainer = pl.Trainer(
        max_epochs=1,
        log_every_n_steps=1,
        logger=loggers[way]() if way in loggers else False,
        callbacks=[Switch(), *([ByHand(write)] if write is not None else [])],
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    X = torch.randn(steps * 32, 32)
    data = torch.utils.data.TensorDataset(X, (X[:, 0] + X[:, 1] > 0).long())
    trainer.fit(Network(), torch.utils.data.DataLoader(data, batch_size=32))
    return blocks


def transformers(way: str, steps: int, size: int) -> Blocks:
    """The Trainer tells of each step; a recorder hears of those of a recorded block."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    if way.startswith("autolog"):
        import autolog

        autolog.enable("transformers", log_gradients=way == "autolog", **OURS)
    trackio = {"report_to": "trackio", "project": PROJECT, "trackio_space_id": None}
    told = {"bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=200, n_positions=32, n_embd=64, n_layer=2, n_head=2, **told)
    )
    arguments = transformers.TrainingArguments(
        str(SCRATCH / "trainer"),
        num_train_epochs=1,
        per_device_train_batch_size=8,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **(trackio if way.startswith("report_to") else {"report_to": "none"}),
    )
    ours: list[Any] = []

    class Switch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            blocks.step()

    def switch(is_on: bool) -> None:
        handler = trainer.callback_handler
        if not ours:
            ours.extend(filter(_is_recorder, handler.callbacks))
        handler.callbacks = [each for each in handler.callbacks if each not in ours] + ours * is_on

    blocks = Blocks(size, switch, steps)
    data = [{"input_ids": row, "labels": row} for row in torch.randint(0, 200, (steps * 8, 32))]
    trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[Switch()])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return blocks


def measure(framework: str, way: str, steps: int) -> dict[str, Any]:
    """One training, in this process; what is told of it, in seconds per step."""
    set_up()
    import torch

    torch.set_num_threads(1)
    train = {KERAS: keras, LIGHTNING: lightning, TRANSFORMERS: transformers}[framework]
    blocks = train(way, steps, BLOCK[framework])
    bare, more, error = blocks.on_top()
    beside = blocks.beside()
    return {"bare": bare, "more": more, "error": error, "beside": beside, "rows": in_trackio(PROJECT).rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sixth of the steps")
    parser.add_argument("--only", nargs=3, metavar=("FRAMEWORK", "WAY", "STEPS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        framework, way, steps = asked.only
        print(json.dumps(measure(framework, way, int(steps))), flush=True)
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores\n")
    head = (
        f"{'a recorded step':45} {'bare':>10} {'on top':>18} {'of bare':>8} {'beside, CPU':>12} {'rows':>7}"
    )
    print(head, "-" * len(head), sep="\n")
    for framework, ways in WAYS.items():
        print(f"{framework}:")
        for way in ways:
            steps = STEPS[framework] // 6 if asked.quick else STEPS[framework]
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.steps"]
            command += ["--only", framework, way, str(steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["it has failed"])[-1]
                print(f"  {way:43} not measured: {last[:100]}", flush=True)
                continue
            # Trackio has something to say, too.
            found = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
            rows = found.pop("rows")
            microseconds = {name: seconds * 1e6 for name, seconds in found.items()}
            on_top = f"{microseconds['more']:.0f} +- {microseconds['error']:.0f} us"
            ratio = 1 + found["more"] / found["bare"]
            print(
                f"  {way:43} {microseconds['bare']:7.0f} us {on_top:>18} {ratio:8.3f}"
                f" {microseconds['beside']:9.0f} us {rows:7,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
