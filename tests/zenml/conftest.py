"""A ZenML of the tests' own: configuration, store and stacks in a temporary folder, nothing on a network."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import settings as settings_module

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


@pytest.fixture(scope="session")
def client() -> Any:
    """ZenML's client, with our flavor registered as a user does it, and another one."""
    pytest.importorskip("zenml")
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client = Client()
    for source in (FLAVOR, "tests.zenml.elsewhere.ElsewhereFlavor"):
        client.create_flavor(source=source, component_type=StackComponentType.EXPERIMENT_TRACKER)
    return client


@pytest.fixture(scope="session")
def make_stack(client: Any) -> MakeStack:
    """Register a tracker, put it into a stack with ZenML's default orchestrator and store, activate that."""
    from zenml.enums import StackComponentType as Kind

    numbers = itertools.count(1)

    def make(flavor: str | None = "trackio-autolog", **configuration: Any) -> Any:
        name = f"tracker_{next(numbers)}"
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
