"""A program that imports scikit-learn, and trains nothing."""

import common

common.recorder("sklearn")

common.begin()

common.end()
