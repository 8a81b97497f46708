"""A native training of XGBoost or LightGBM, 100 rounds with two evaluation sets, and one evaluation."""

import sys

import common

library = sys.argv[3]
recorder = common.recorder(library)

from sklearn.datasets import make_classification
from sklearn.metrics import roc_auc_score

X, y = make_classification(6_000, 20, n_informative=10, random_state=0)
X_val, y_val, X_test, y_test = X[4_000:5_000], y[4_000:5_000], X[5_000:], y[5_000:]
X, y = X[:4_000], y[:4_000]


def with_xgboost():
    import xgboost

    train, val = xgboost.DMatrix(X, y), xgboost.DMatrix(X_val, y_val)
    params = {"objective": "binary:logistic", "max_depth": 4, "nthread": 2}
    booster = xgboost.train(params, train, rounds, evals=[(train, "train"), (val, "val")], verbose_eval=False)
    return booster.predict(xgboost.DMatrix(X_test, y_test))


def with_lightgbm():
    import lightgbm

    train = lightgbm.Dataset(X, y)
    val = lightgbm.Dataset(X_val, y_val, reference=train)
    params = {"objective": "binary", "verbosity": -1, "num_threads": 2}
    booster = lightgbm.train(params, train, rounds, valid_sets=[train, val])
    return booster.predict(X_test)


rounds = max(1, round(100 * common.share))
__import__(library)
run = common.start(recorder, {"rounds": rounds})
common.begin()
area = roc_auc_score(y_test, {"xgboost": with_xgboost, "lightgbm": with_lightgbm}[library]())
if run is not None:
    run.log({"test/roc_auc": area})
    run.finish()
common.end()
