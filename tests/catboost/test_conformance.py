"""CatBoost keeps the promises."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from catboost import CatBoostClassifier

from tests.catboost.data import QUIET, SETS
from tests.conformance.base import Conformance, Subject
from tests.conformance.by_run import ByRun


class Failing(CatBoostClassifier):  # type: ignore[misc]
    """Fails in the middle of its fit. (Of what a callback raises CatBoost makes an error of its own.)"""

    error: BaseException

    def _train(self, *args: Any) -> None:
        raise self.error


class CatBoost(Subject):
    name = "catboost"
    strength = "l2_leaf_reg"
    program = """
        from catboost import CatBoostClassifier
        from sklearn.datasets import load_iris

        class Slow:
            def after_iteration(self, info):
                print("ready", flush=True)
                time.sleep(120)
                return True

        model = CatBoostClassifier(iterations=3, reg_lambda=3.0, verbose=0, allow_writing_files=False)
        model.fit(*load_iris(return_X_y=True), callbacks=[Slow()])
    """

    def train(self, strength: float = 1.0) -> Any:
        model = CatBoostClassifier(iterations=4, depth=2, reg_lambda=strength, **QUIET)
        return model.fit(*SETS["iris"][0], eval_set=SETS["iris"][1])

    def result(self, trained: Any) -> bytes:
        with TemporaryDirectory() as folder:
            path = Path(folder, "model.json")
            trained.save_model(str(path), format="json")
            found = json.loads(path.read_text())
        del found["model_info"]  # says when it was trained
        return json.dumps(found).encode() + trained.predict_proba(SETS["iris"][2][0]).tobytes()

    def evaluate(self, trained: Any) -> float:
        return float(trained.score(*SETS["iris"][2]))

    def fail(self, error: BaseException) -> None:
        model = Failing(iterations=4, **QUIET)
        model.error = error
        model.fit(*SETS["iris"][0])


class TestCatBoost(Conformance):
    subject = CatBoost()


class TestByRun(ByRun):
    subject = CatBoost()
