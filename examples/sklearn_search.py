"""Wine by its chemistry: a halving search over pipelines, on two processes; the three best as runs.

python examples/sklearn_search.py && trackio show --project wine
"""

from sklearn.datasets import load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import autolog

autolog.enable(project="wine", search_runs=3)

X, y = load_wine(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

pipeline = Pipeline([("scale", StandardScaler()), ("classify", SVC())])
grid = {"classify__C": [0.01, 0.1, 1, 10, 100], "classify__kernel": ["linear", "rbf"]}
search = HalvingGridSearchCV(pipeline, grid, factor=2, n_jobs=2, random_state=0).fit(X_train, y_train)

print(f"best            {search.best_params_}")
print(f"test accuracy   {search.score(X_test, y_test):.3f}")

# What it shows: a run of the search, with a table of all candidates and the round in which each of them was
# dropped, and the three best as runs below it. The fits in the two processes are no runs of their own.
