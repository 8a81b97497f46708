"""A value in, something loggable out; and in `origin`, where a run comes from.

Nothing here knows of runs or training loops. Frameworks are imported inside of functions only: torch for its
own tensors, matplotlib to draw. NumPy is imported with `datasets` and `evaluation`.
"""
