"""A ZenML of the tests' own: configuration, store and stacks in a temporary folder, nothing on a network."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import settings as settings_module
from tests.programs import environment
from tests.warm import forks

# Before anything imports ZenML, which fixes its folders then.
_home = tempfile.mkdtemp(prefix="autolog-zenml-")
os.environ.update(
    ZENML_CONFIG_PATH=os.path.join(_home, "config"),
    ZENML_LOCAL_STORES_PATH=os.path.join(_home, "stores"),
    ZENML_CUSTOM_SOURCE_ROOT=str(Path(__file__).parents[2]),
    ZENML_ANALYTICS_OPT_IN="false",
    ZENML_LOGGING_VERBOSITY="WARN",
    AUTO_OPEN_DASHBOARD="false",
)

FLAVOR = "autolog.zenml.TrackioExperimentTrackerFlavor"
MakeStack = Callable[..., Any]

_numbers = itertools.count(1)


@functools.cache
def _client() -> Any:
    """Made once in a process: what is registered stays registered."""
    from zenml.client import Client
    from zenml.enums import StackComponentType
    from zenml.environment import Environment

    # Twice a run ZenML asks pip what is installed, which takes as long as all the rest. It has not changed.
    if hasattr(Environment, "get_python_packages"):  # ZenML 0.85 does so elsewhere
        Environment.get_python_packages = staticmethod(functools.cache(Environment.get_python_packages))

    client = Client()
    for source in (FLAVOR, "tests.zenml.elsewhere.ElsewhereFlavor"):
        client.create_flavor(source=source, component_type=StackComponentType.EXPERIMENT_TRACKER)
    return client


@pytest.fixture(scope="session")
def client() -> Any:
    """ZenML's client, with our flavor registered as a user does it, and another one."""
    pytest.importorskip("zenml")
    return _client()


@pytest.fixture(scope="session")
def make_stack(client: Any) -> MakeStack:
    """Register a tracker, put it into a stack with ZenML's default orchestrator and store, activate that."""
    from zenml.enums import StackComponentType as Kind

    def make(flavor: str | None = "trackio-autolog", **configuration: Any) -> Any:
        name = f"tracker_{next(_numbers)}"
        components: dict[Any, Any] = {Kind.ORCHESTRATOR: "default", Kind.ARTIFACT_STORE: "default"}
        if flavor is not None:
            component = client.create_stack_component(name, flavor, Kind.EXPERIMENT_TRACKER, configuration)
            components[Kind.EXPERIMENT_TRACKER] = component.id
        stack = client.create_stack(f"stack_{name}", components)
        client.activate_stack(stack.id)
        return stack

    return make


@pytest.fixture
def in_memory(sink: autolog.MemorySink) -> Iterator[autolog.MemorySink]:
    """Runs are recorded in memory; no framework is turned on."""
    before = settings_module.in_force()
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0))
    yield sink
    settings_module.use(before)


@pytest.fixture
def tracker(client: Any, make_stack: MakeStack) -> str:
    """The name of a tracker that nothing was told of, in the active stack."""
    make_stack()
    return str(client.active_stack.experiment_tracker.name)


@functools.cache
def _shells_home() -> Path:
    """Of a shell's and its programs' ZenML; made once, as the client is."""
    return Path(tempfile.mkdtemp(prefix="autolog-zenml-shell-"))


def _variables(trackio: Path, with_page: bool, more: dict[str, str]) -> dict[str, str]:
    ours = {
        "ZENML_CONFIG_PATH": str(_shells_home() / "config"),
        "ZENML_LOCAL_STORES_PATH": str(_shells_home() / "stores"),
        "ZENML_CUSTOM_SOURCE_ROOT": "",
        "PIP_NO_INDEX": "1",  # whatever is installed: it comes from no network
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "300",
        **more,
    }
    if with_page:
        ours["AUTOLOG_ZENML_PAGE"] = "1"
    clean = environment(trackio, **ours)
    del clean["AUTOLOG_PROJECT"]
    return clean


def shell(command: str, *, trackio: Path, with_page: bool = False, code: int = 0) -> str:
    """Run this in a shell with another ZenML of its own; `with_page` sets the variable."""
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        env=_variables(trackio, with_page, {"PYTHONWARNINGS": "ignore"}),
        cwd=_shells_home(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def python(text: str, *arguments: str, trackio: Path, with_page: bool = False, **more: str) -> str:
    """Run this program with the shell's ZenML, which imports each framework that there is: they have been."""
    script = trackio / "program.py"
    script.write_text(text)
    variables = _variables(trackio, with_page, more)
    process = forks(text, [*arguments], variables, script=script, folder=_shells_home())
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out
