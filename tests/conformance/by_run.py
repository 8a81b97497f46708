"""The promises once more, from outside: ``autolog run`` starts the programs, and they say nothing of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.review.recorded import RecordedRun
from tests.conformance.base import Subject
from tests.programs import environment, until_on_disk

ROOT = Path(__file__).parents[2]

TRAINS = """
import hashlib, random
import numpy
from {module} import {name}
subject = {name}()
random.seed(5)
numpy.random.seed(5)
for strength in (1.0, 2.0):
    trained = subject.train(strength)
    accuracy = subject.evaluate(trained)
    result = hashlib.sha256(subject.result(trained)).hexdigest()
    print("result", accuracy, result, random.random(), numpy.random.rand())
print(sorted(vars(trained)))
"""

FAILS = """
from {module} import {name}
{name}().fail({error})
"""


class ByRun:
    """A test class derives from it and sets ``subject``."""

    subject: Subject

    measured: str | None = None
    """What the framework itself prints and is another each time: a pattern."""

    def of_trainings(self, runs: list[RecordedRun]) -> list[RecordedRun]:
        """Of all runs those that are a training, and no part of one."""
        return runs

    def accuracy_of(self, run: RecordedRun) -> float:
        """What the user sees as the accuracy."""
        return run.metrics["test/accuracy" if "test/accuracy" in run.metrics else "val/accuracy"].last

    def has_kept_it(self, run: RecordedRun) -> bool:
        """Whether what was trained can be had again."""
        return "model" in [artifact.type for artifact in run.artifacts]

    @pytest.mark.long
    def test_a_program_does_the_same_and_its_trainings_are_whole_runs(self, tmp_path: Path) -> None:
        bare, recorded = self.bare_and_recorded(tmp_path, TRAINS)
        assert bare.returncode == 0, bare.stderr
        assert (recorded.stdout, recorded.stderr, recorded.returncode) == (bare.stdout, bare.stderr, 0)
        second, first = self.of_trainings(list(autolog.runs("p", at=tmp_path)))
        lines = [line for line in bare.stdout.splitlines() if line.startswith("result ")]
        for run, strength, line in zip((first, second), (1.0, 2.0), lines, strict=True):
            assert run.status == "finished"
            assert float(run.params[self.subject.strength]) == strength
            assert self.accuracy_of(run) == pytest.approx(float(line.split()[1]))
            assert run.figures
            assert any(path.read_bytes() for path in run.figures.values())
            assert self.has_kept_it(run)

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("error", "code"), [("ValueError('his')", 1), ("SystemExit(3)", 3)], ids=["ValueError", "SystemExit"]
    )
    def test_the_users_exception_ends_it_as_without_us(self, tmp_path: Path, error: str, code: int) -> None:
        bare, recorded = self.bare_and_recorded(tmp_path, FAILS, error=error)
        assert bare.returncode == recorded.returncode == code, bare.stderr
        assert (recorded.stdout, recorded.stderr) == (bare.stdout, bare.stderr)
        (run,) = self.of_trainings(list(autolog.runs("p", at=tmp_path)))
        assert run.status == "failed"

    @pytest.mark.long
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    def test_a_program_that_is_killed_says_so(self, tmp_path: Path, number: int) -> None:
        process = subprocess.Popen(
            self.by_run("import time\n" + textwrap.dedent(self.subject.program)),
            env=self.variables(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        until_on_disk(tmp_path, f'"{self.subject.strength}"')
        if number == signal.SIGINT:  # Ctrl-C goes to all that stand in the foreground
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.communicate(timeout=120)
        assert (process.returncode == 0) is (number in self.subject.clean_exits)
        (run,) = self.of_trainings(list(autolog.runs("p", at=tmp_path)))
        assert run.status == "killed"
        assert float(run.params[self.subject.strength]) == 3.0

    def bare_and_recorded(
        self, directory: Path, program: str, **given: Any
    ) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
        kind = type(self.subject)
        text = program.format(module=kind.__module__, name=kind.__name__, **given)
        commands = [sys.executable, "-c", text], self.by_run(text)
        bare, recorded = (
            subprocess.run(
                command,
                env=self.variables(directory),
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            for command in commands
        )
        if self.measured:
            for one in (bare, recorded):
                one.stdout = re.sub(self.measured, "MEASURED", one.stdout)
        return bare, recorded

    def by_run(self, program: str) -> list[str]:
        asked = ["--framework", self.subject.name, "--", "-c", program]
        return [sys.executable, "-m", "autolog", "run", *asked]

    def variables(self, directory: Path) -> dict[str, str]:
        found = environment(directory, AUTOLOG_DETACH="0", AUTOLOG_BUDGET="1e9")
        return {**found, "PYTHONPATH": os.pathsep.join([str(ROOT), found.get("PYTHONPATH", "")])}
