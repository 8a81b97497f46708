"""Seven short fits, a score each."""

import common

recorder = common.recorder("sklearn")

from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

X, y = make_classification(2_000, 20, n_informative=10, n_classes=3, random_state=0)


def fit(model):
    run = common.start(recorder, {name: str(value) for name, value in model.get_params().items()})
    model.fit(X[:1_500], y[:1_500])
    score = model.score(X[1_500:], y[1_500:])
    if run is not None:
        run.log({"val/accuracy": score})
        run.finish()


common.begin()
for number in range(5):
    fit(LogisticRegression(C=10.0 ** (number - 2), max_iter=200))
for seed in range(2):
    fit(RandomForestClassifier(50, random_state=seed))
common.end()
