"""A grid search of 40 candidates in 3 folds, and the score of the best."""

import common

recorder = common.recorder("sklearn")

import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

X, y = make_classification(2_000, 20, n_informative=10, n_classes=3, random_state=0)

common.begin()
run = common.start(recorder)
search = GridSearchCV(LogisticRegression(max_iter=200), {"C": np.logspace(-3, 3, 40)}, cv=3)
search.fit(X[:1_500], y[:1_500])
score = search.score(X[1_500:], y[1_500:])
if run is not None:
    for mean, C in zip(search.cv_results_["mean_test_score"], search.cv_results_["param_C"], strict=True):
        run.log({"cv/accuracy": float(mean), "C": float(C)})
    run.log({"val/accuracy": score})
    run.finish()
common.end()
