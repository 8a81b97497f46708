"""A program that imports scikit-learn, and trains nothing."""

import common

common.recorder("sklearn")

common.begin()
import sklearn.linear_model  # noqa: F401 - that is all it does

common.end()
