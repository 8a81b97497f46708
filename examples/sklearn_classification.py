"""Handwritten digits: a random forest, its held-out evaluation, and a cross-validation beside it.

python examples/sklearn_classification.py && trackio show --project digits
"""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import classification_report
from sklearn.model_selection import cross_val_score, train_test_split

import autolog

autolog.enable(project="digits")

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(digits.data, digits.target, random_state=0)

model = RandomForestClassifier(200, random_state=0).fit(X_train, y_train)
# Any metric on predictions of the model is an evaluation of its run: confusion matrix, ROC, best and worst.
print(classification_report(y_test, model.predict(X_test)))

# One run more, with a table of the folds.
scores = cross_val_score(RandomForestClassifier(50, random_state=0), digits.data, digits.target, cv=5)
print(f"cross-validated accuracy {scores.mean():.3f} +- {scores.std():.3f}")

# What it shows: two runs. The forest's has a report per class, a confusion matrix, a ROC curve, the best and
# worst predictions and the importances; the cross-validation's has a table of its five folds, and their mean.
