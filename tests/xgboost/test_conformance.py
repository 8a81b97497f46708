"""XGBoost keeps the promises."""

from __future__ import annotations

from typing import Any

import xgboost
from sklearn.metrics import accuracy_score
from xgboost.callback import TrainingCallback

from tests.conformance.base import Conformance, Subject
from tests.conformance.by_run import ByRun
from tests.xgboost.data import SETS, matrices


class Raising(TrainingCallback):  # type: ignore[misc]
    """Fails in the second round."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if epoch == 1:
            raise self.error
        return False


class XGBoost(Subject):
    name = "xgboost"
    strength = "reg_lambda"
    program = """
        import xgboost
        from sklearn.datasets import load_iris

        class Slow(xgboost.callback.TrainingCallback):
            def after_iteration(self, model, epoch, evals_log):
                print("ready", flush=True)
                time.sleep(120)
                return False

        data = xgboost.DMatrix(*load_iris(return_X_y=True))
        xgboost.train({"lambda": 3.0}, data, 3, callbacks=[Slow()])
    """

    def train(self, strength: float = 1.0) -> Any:
        train, val, _ = matrices("iris")
        params = {"objective": "multi:softprob", "num_class": 3, "lambda": strength, "nthread": 1}
        return xgboost.train(params, train, 4, evals=[(val, "valid")], verbose_eval=False)

    def result(self, trained: Any) -> bytes:
        return bytes(trained.save_raw())

    def evaluate(self, trained: Any) -> float:
        test = matrices("iris")[2]
        return float(accuracy_score(SETS["iris"][2][1], trained.predict(test).argmax(axis=1)))

    def fail(self, error: BaseException) -> None:
        xgboost.train({"nthread": 1}, matrices("iris")[0], 4, callbacks=[Raising(error)])


class TestXGBoost(Conformance):
    subject = XGBoost()


class TestByRun(ByRun):
    subject = XGBoost()
