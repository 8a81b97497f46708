"""Each example runs offline on real data, and its runs hold what its text says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.programs import journals, read, run, values

EXAMPLES = Path(__file__).parents[1] / "examples"

# Project, and of each run its model and what must be in it.
EXPECTED: dict[str, tuple[str, list[tuple[str, set[str]]]]] = {
    "sklearn_classification": (
        "digits",
        [
            ("RandomForestClassifier", {"val/accuracy", "val/roc", "val/per_class", "model/importances"}),
            ("RandomForestClassifier", {"cv/folds", "cv/test_score_mean"}),
        ],
    ),
    "sklearn_regression": (
        "diabetes",
        [
            ("RidgeCV", {"val/rmse", "val/residuals", "model/coefficients"}),
            (
                "HistGradientBoostingRegressor",
                {"val/rmse", "train/score", "early_stopping/score", "model/permutation_importances"},
            ),
        ],
    ),
    "sklearn_search": (
        "wine",
        [("SVC", {"search/cv_results", "val/accuracy"}), *[("", {"cv/mean_test_score"})] * 3],
    ),
    "keras_digits": (
        "keras-digits",
        [
            (
                "Sequential",
                {"train/loss", "val/loss", "vitals/grad_norm", "val/confusion_matrix", "test/accuracy"},
            )
        ],
    ),
    "sklearn_text": ("docstrings", [("SGDClassifier", {"val/accuracy", "model/coefficients"})]),
    "lightning_digits": (
        "lightning-digits",
        [
            (
                "Digits",
                {"train/loss", "val/loss", "vitals/lr", "vitals/grad_norm/edges", "val/roc", "test/accuracy"},
            )
        ],
    ),
    "optuna_search": (
        "optuna-digits",
        [
            (
                "",
                {
                    "objective/value",
                    "objective/value/best",
                    "trials",
                    "trials/pruned",
                    "history",
                    "importances",
                    "parallel_coordinates",
                    "slice",
                    "contour",
                    "timeline",
                    "intermediate_values",
                    "interactive",
                },
            ),
            *[("Sequential", {"train/loss", "val/accuracy", "intermediate/value"})] * 12,
        ],
    ),
    "transformers_text": (
        "transformers-docstrings",
        [
            (
                "BertForSequenceClassification",
                {
                    "train/loss",
                    "val/loss",
                    "vitals/lr",
                    "vitals/grad_norm",
                    "val/roc",
                    "test/best_and_worst",
                    "checkpoints",
                },
            )
        ],
    ),
    "zenml_pipeline": (
        "train_digits",
        [("LogisticRegression", {"val/accuracy", "val/roc", "errors_per_thousand"})],
    ),
    "torch_loop": (
        "torch-digits",
        [
            (
                "Sequential",
                {"train/loss", "val/accuracy", "test/accuracy", "test/confusion_matrix", "vitals/lr"}
                | {"vitals/grad_norm/1.Linear", "vitals/param_norm", "grad_histogram/1.Linear"},
            )
        ],
    ),
}


def test_every_example_is_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*EXPECTED, "quickstart"}


LONG = {
    "transformers_text",
    "zenml_pipeline",
    "optuna_search",
    "sklearn_search",
    "keras_digits",
    "lightning_digits",
}


def mark_of(name: str) -> Any:
    if name == "sklearn_classification":  # one is run by the README's test command
        return ()
    return pytest.mark.long if name in LONG else pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=mark_of(name)) for name in EXPECTED])
def test_an_example_records_what_it_says(tmp_path: Path, name: str) -> None:
    example = EXAMPLES / f"{name}.py"
    program = f"import runpy; runpy.run_path({str(example)!r}, run_name='__main__')"
    if name.startswith("zenml"):
        pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")
    # Not those of other tests in this process, whose flavor it would register before them.
    places = {
        "ZENML_CONFIG_PATH": str(tmp_path / "zenml"),
        "ZENML_LOCAL_STORES_PATH": str(tmp_path / "stores"),
    }
    stores = {**places, "ZENML_ANALYTICS_OPT_IN": "false"}
    warm = not name.startswith("sklearn")  # the others import longer than they train
    out = run(tmp_path, program, warm=warm, AUTOLOG_BUDGET="1000", **stores)
    assert "Traceback" not in out
    project, expected = EXPECTED[name]
    assert f"--project {project}" in example.read_text()
    kept: list[dict[str, Any]] = sorted(read(tmp_path, project), key=lambda r: r["config"]["_Created"])
    assert [one["config"].get("model", "") for one in kept] == [model for model, _ in expected]
    for one, (_, keys) in zip(kept, expected, strict=True):
        assert one["config"]["status"] in ("finished", "pruned")
        assert not {"autolog/faults", "autolog/lost"} & set(one["config"])
        assert all(values(one, key) for key in keys), {key for key in keys if not values(one, key)}
    assert journals(tmp_path) == []
