"""Disease progression of diabetes patients: gradient boosting with early stopping, against a linear model.

python examples/sklearn_regression.py && trackio show --project diabetes
"""

from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autolog

autolog.enable(project="diabetes")

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

linear = make_pipeline(StandardScaler(), RidgeCV(alphas=[0.1, 1, 10, 100]))
boosted = HistGradientBoostingRegressor(learning_rate=0.05, early_stopping=True, random_state=0)
for model in (linear, boosted):  # two runs, side by side in the dashboard
    model.fit(X_train, y_train)
    error = root_mean_squared_error(y_test, model.predict(X_test))
    print(f"{type(model).__name__:<30} RMSE {error:.1f}")

permutation_importance(boosted, X_test, y_test, random_state=0)  # in the run of the boosted model, too

# What it shows: two runs to compare. Both have residuals and predicted against true; the linear one what its
# cross-validation has chosen (model/alpha), the boosted one its score per iteration, the iteration at which
# it stopped, and the importances that were computed by the last line.
