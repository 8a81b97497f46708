"""ZenML's documentation page on Trackio, as it stands; our own way by the command line."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.programs import read, trackio_server, values
from tests.zenml.conftest import python, shell

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

TOKEN = "s3cret-of-the-page"

needs_their_flavor = pytest.mark.skipif(
    importlib.util.find_spec("zenml.integrations.trackio") is None,
    reason="this ZenML has no flavor of its own for Trackio",
)

# As the page has it; what stands there as `...` and in angle brackets is filled in below.
PAGE_IN_SHELL = """
zenml integration install trackio -y
zenml secret create trackio_secret --api_key={token}
zenml experiment-tracker register trackio_tracker \\
    --flavor=trackio \\
    --project=churn \\
    --api_key={{{{trackio_secret.api_key}}}} \\
    {base_url}
zenml stack register trackio_stack -e trackio_tracker -o default -a default --set
"""

PAGE_IN_PYTHON = """
from zenml import step
from zenml.integrations.trackio.experiment_trackers import get_trackio_run

@step(experiment_tracker="trackio_tracker")
def evaluate_model(accuracy: float, params: dict) -> None:
    run = get_trackio_run()

    # Log high level metrics / metadata using the Trackio client API
    if hasattr(run, "log"):
        run.log({"accuracy": accuracy})
    elif hasattr(run, "log_metrics"):
        run.log_metrics({"accuracy": accuracy})

    if hasattr(run, "log_params"):
        run.log_params(params)
    elif hasattr(run, "__setitem__"):
        run["parameters"] = params


from zenml.client import Client

tracker_name = Client().active_stack.experiment_tracker.name

from zenml import step
from zenml.integrations.trackio.flavors import TrackioExperimentTrackerSettings

@step(
    experiment_tracker=tracker_name,
    settings={
        "experiment_tracker": TrackioExperimentTrackerSettings(
            run_name="nightly-eval",
            tags=["nightly", "evaluation"],
            metadata={"dataset": "imagenet", "split": "validation"},
        )
    },
)
def nightly_evaluation() -> None:
    run = get_trackio_run()
    run.log({"f1": 0.81})


from zenml import pipeline

@pipeline
def the_page():
    evaluate_model(0.9, {"depth": 4})
    nightly_evaluation(after="evaluate_model")


if __name__ == "__main__":
    the_page()
    pipeline_run = Client().list_pipeline_runs(size=1).items[0]
    step = pipeline_run.steps["evaluate_model"]
    experiment_tracker_url = step.run_metadata["experiment_tracker_url"].value
    print("FOUND", experiment_tracker_url)
    import json
    known = step.run_metadata["experiment_tracker_url"]
    print("SAME", json.dumps(known) == json.dumps(experiment_tracker_url))
"""


@needs_their_flavor
@pytest.mark.long
def test_the_page_as_it_stands(tmp_path: Path) -> None:
    with trackio_server(tmp_path / "server", TOKEN) as url:
        commands = PAGE_IN_SHELL.format(token=TOKEN, base_url=f"--base_url={url}")
        out = shell(commands, trackio=tmp_path, with_page=True)
        out += python(PAGE_IN_PYTHON, trackio=tmp_path, with_page=True)
    assert TOKEN not in out
    runs = {run["config"]["zenml/step"]: run for run in read(tmp_path / "server", "churn")}
    run, nightly = runs["evaluate_model"], runs["nightly_evaluation"]
    assert "SAME True" in out
    assert f"FOUND {url}/run?project=churn&selected_run_id={run['id']}" in out
    assert values(run, "accuracy") == [0.9]
    assert run["config"]["params"] == {"depth": 4}
    assert nightly["name"] == "nightly-eval"
    assert values(nightly, "f1") == [0.81]
    assert nightly["config"]["tags"][:2] == ["nightly", "evaluation"]
    assert nightly["config"]["tags"][2:] == [
        "the_page",
        nightly["config"]["zenml/pipeline_run"],
        "nightly_evaluation",
    ]
    assert nightly["config"]["dataset"] == "imagenet"
    assert {run["config"]["status"], nightly["config"]["status"]} == {"finished"}


def test_each_line_of_the_comparison_names_the_tests_that_run_it() -> None:
    here = Path(__file__).parent
    lines = (here.parents[1] / "docs" / "zenml.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    assert len(table) > 15
    for line in table:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", line.split("|")[-2])
        assert named, line
        for file, test in named:
            assert f"def {test}(" in (here / file).read_text(), f"{file}::{test}"


BUILT_IN = """
import trackio
from zenml import pipeline, step
from zenml.client import Client
from zenml.enums import StackComponentType as Kind

@step(experiment_tracker="their_tracker", enable_cache=False)
def logs() -> None:
    trackio.log({"by/hand": 1})

@pipeline
def theirs():
    logs()

def register(client, name, **configuration):
    tracker = client.create_stack_component(name, "trackio", Kind.EXPERIMENT_TRACKER, configuration)
    parts = {Kind.ORCHESTRATOR: "default", Kind.ARTIFACT_STORE: "default"}
    client.create_stack(name, {**parts, Kind.EXPERIMENT_TRACKER: tracker.id})

if __name__ == "__main__":
    client = Client()
    if not client.list_stacks(name="their_tracker"):
        register(client, "their_tracker", project_name="built-in")
    client.activate_stack("their_tracker")
    theirs()
    try:
        register(client, "mixed", project_name="a", base_url="https://a.b")
    except ValueError as error:
        print(error)
"""


@needs_their_flavor
@pytest.mark.long
def test_a_stack_of_zenmls_own_flavor_works_with_the_variable_and_without(tmp_path: Path) -> None:
    for with_page in (False, True):
        out = python(BUILT_IN, trackio=tmp_path, with_page=with_page)
        assert ("Use the one or the other" in out) is with_page
    runs = read(tmp_path, "built-in")
    assert [values(run, "by/hand") for run in runs] == [[1], [1]]


OURS = """
from zenml import pipeline, step
from autolog.zenml import get_trackio_run

@step(experiment_tracker="our_tracker", enable_cache=False)
def logs() -> None:
    get_trackio_run().log({"by/hand": 1})

@pipeline
def ours():
    logs()

if __name__ == "__main__":
    ours()
"""


@pytest.mark.long
def test_our_flavor_by_the_command_line(tmp_path: Path) -> None:
    shell(
        "zenml experiment-tracker flavor register autolog.zenml.TrackioExperimentTrackerFlavor\n"
        "zenml experiment-tracker register our_tracker --flavor=trackio-autolog\n"
        "zenml stack register our_stack -e our_tracker -o default -a default --set",
        trackio=tmp_path,
    )
    out = shell(
        "zenml experiment-tracker register refused --flavor=trackio-autolog "
        f"--workspace=acme --base_url=https://a.b --api_key={TOKEN}",
        trackio=tmp_path,
        code=1,
    )
    assert out.splitlines()[-1].startswith("Error: workspace (a Hugging Face Space) and base_url")
    assert "Traceback" not in out
    assert TOKEN not in out
    python(OURS, trackio=tmp_path)
    (run,) = read(tmp_path, "ours")
    assert values(run, "by/hand") == [1]


# The hook of `import zenml` ---------------------------------------------------------------------------

zenml_module = importlib.util.find_spec("zenml")
needs_hooks = pytest.mark.skipif(
    "zenml.init_hooks" not in Path(str(zenml_module and zenml_module.origin)).read_text(),
    reason="this ZenML calls no hooks when it is imported (zenml.init_hooks)",
)


def loaded_by(command: str, folder: Path | None = None, **variables: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{command}; import sys, json; print(json.dumps(list(sys.modules)))"],
        env={**os.environ, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found: Any = json.loads(out.stdout.splitlines()[-1])
    return set(found)


@needs_hooks
def test_without_the_variable_zenml_imports_nothing_of_ours() -> None:
    modules = loaded_by("import zenml")
    assert "autolog_zenml_page" in modules
    assert "autolog" not in modules


def test_with_the_variable_the_hook_needs_the_standard_library_only() -> None:
    modules = loaded_by("import autolog_zenml_page as page; page.begin()", AUTOLOG_ZENML_PAGE="1")
    assert "autolog.zenml.page" in modules
    assert not modules & {"zenml", "trackio", "numpy", "pydantic", "orjson", "packaging"}


@needs_hooks
def test_a_hook_that_fails_breaks_no_import(tmp_path: Path) -> None:
    (tmp_path / "autolog").mkdir()
    (tmp_path / "autolog" / "__init__.py").write_text("raise RuntimeError('half installed')")
    modules = loaded_by("import zenml", tmp_path, AUTOLOG_ZENML_PAGE="1", PYTHONPATH=str(tmp_path))
    assert "zenml.client" in modules
    assert "autolog_zenml_page" in modules
    assert "autolog" not in modules
