"""A real training, recorded: breast cancer diagnosis with a pipeline and a grid search.

Two lines are autolog's: the import and enable(). The rest is what anybody would write.
"""

import os
import shlex
import sys

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import autolog

autolog.enable(project="quickstart")

data = load_breast_cancer(as_frame=True)
names = data.target.map(dict(enumerate(data.target_names)))  # "malignant", "benign"
X_train, X_test, y_train, y_test = train_test_split(data.data, names, stratify=names, random_state=0)

model = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression(max_iter=500))])
search = GridSearchCV(model, {"classify__C": [0.01, 0.1, 1, 10]}, scoring="roc_auc")
search.fit(X_train, y_train)

print(f"best C          {search.best_params_['classify__C']}")
print(f"test accuracy   {(search.predict(X_test) == y_test).mean():.3f}")
print(f"test ROC AUC    {roc_auc_score(y_test, search.predict_proba(X_test)[:, 1]):.3f}")

arrived = autolog.finish()
trackio = os.path.join(os.path.relpath(os.path.dirname(sys.executable)), "trackio")
print("\nThe run is in the Trackio project 'quickstart'" + ("." if arrived else ", soon."))
print(f"Look at it:  {shlex.quote(trackio)} show --project quickstart")

# What it shows: one run, called "search LogReg ·...". Its report begins with accuracy, ROC AUC and F1 of the
# test rows. Below them stand all four candidates with the best one first, a confusion matrix, a ROC curve,
# a precision-recall curve and a calibration, the coefficients by their names, the model and this file.
