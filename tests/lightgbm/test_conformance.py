"""LightGBM keeps the promises."""

from __future__ import annotations

from typing import Any

import lightgbm
from sklearn.metrics import accuracy_score

from tests.conformance.base import Conformance, Subject
from tests.conformance.by_run import ByRun
from tests.lightgbm.data import SETS, datasets


class LightGBM(Subject):
    name = "lightgbm"
    strength = "lambda_l2"
    program = """
        import lightgbm
        from sklearn.datasets import load_iris

        def slow(env):
            print("ready", flush=True)
            time.sleep(120)

        data = lightgbm.Dataset(*load_iris(return_X_y=True))
        lightgbm.train({"reg_lambda": 3.0, "verbosity": -1}, data, 3, callbacks=[slow])
    """

    def train(self, strength: float = 1.0) -> Any:
        train, val, _ = datasets("iris")
        params = {"objective": "multiclass", "num_class": 3, "reg_lambda": strength, "num_threads": 1}
        return lightgbm.train({**params, "verbosity": -1}, train, 4, valid_sets=[val])

    def result(self, trained: Any) -> bytes:
        return str(trained.model_to_string()).encode()

    def evaluate(self, trained: Any) -> float:
        X, y = SETS["iris"][2]
        return float(accuracy_score(y, trained.predict(X).argmax(axis=1)))

    def fail(self, error: BaseException) -> None:
        def raising(env: Any) -> None:
            if env.iteration == 1:
                raise error

        lightgbm.train({"verbosity": -1}, datasets("iris")[0], 4, callbacks=[raising])


class TestLightGBM(Conformance):
    subject = LightGBM()


class TestByRun(ByRun):
    subject = LightGBM()
