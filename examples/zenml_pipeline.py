"""A ZenML pipeline of two steps; the one that trains is a run in Trackio.

    python examples/zenml_pipeline.py
    trackio show --project train_digits

The tracker is told of no place, so the run stays on this machine. In it: the held-out metrics, confusion
matrix and ROC of the `score` below, the model, data, code and environment, and what the step logs itself. The
step and the pipeline run show the URL that opens it.
"""

from typing import Annotated

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from zenml import pipeline, step
from zenml.client import Client
from zenml.enums import StackComponentType

import autolog
from autolog.zenml import TrackioExperimentTrackerSettings, get_trackio_run

autolog.enable("sklearn")

TRACKER = "trackio_tracker"


@step(enable_cache=False)
def load() -> tuple[
    Annotated[np.ndarray, "X_train"],
    Annotated[np.ndarray, "X_test"],
    Annotated[np.ndarray, "y_train"],
    Annotated[np.ndarray, "y_test"],
]:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    return X_train, X_test, y_train, y_test


@step(
    enable_cache=False,
    experiment_tracker=TRACKER,
    settings={"experiment_tracker": TrackioExperimentTrackerSettings(tags=["nightly"])},
)
def train(
    X_train: np.ndarray, X_test: np.ndarray, y_train: np.ndarray, y_test: np.ndarray, C: float = 0.1
) -> Annotated[Pipeline, "model"]:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=500)).fit(X_train, y_train)
    accuracy = model.score(X_test, y_test)
    get_trackio_run().log({"errors_per_thousand": 1000 * (1 - accuracy)})
    return model


@pipeline
def train_digits() -> None:
    train(*load())


def use_a_tracked_stack(client: Client) -> None:
    """What `zenml experiment-tracker flavor register`, `... register` and `zenml stack register` do, once."""
    kind = StackComponentType.EXPERIMENT_TRACKER
    if not client.list_flavors(name="trackio-autolog", type=kind).items:
        client.create_flavor("autolog.zenml.TrackioExperimentTrackerFlavor", kind)
    if not client.list_stack_components(name=TRACKER, type=kind).items:
        client.create_stack_component(TRACKER, "trackio-autolog", kind, {"project": "train_digits"})
    if not client.list_stacks(name="trackio_stack").items:
        parts = {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": TRACKER}
        client.create_stack("trackio_stack", {StackComponentType(name): part for name, part in parts.items()})
    client.activate_stack("trackio_stack")


if __name__ == "__main__":
    client = Client()
    before = client.active_stack.id
    use_a_tracked_stack(client)
    try:
        train_digits()
    finally:
        client.activate_stack(before)
    latest = client.list_pipeline_runs(sort_by="desc:created", size=1).items[0]
    print("The run:     ", latest.steps["train"].run_metadata["experiment_tracker_url"])
    print("Look at it:   trackio show --project train_digits")

# What it shows: the run of one step. Its inputs are artifacts of ZenML's, named with their versions; the
# held-out evaluation and the model come from autolog.enable("sklearn"), the last number from the step
# itself.
