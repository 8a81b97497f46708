"""From any value to something that can be recorded. The folder `origin` reads where a run comes from.

Nothing here knows of runs or training loops. Frameworks are imported inside of functions only: torch for its
own tensors, matplotlib to draw. NumPy is imported with `datasets` and `evaluation`.
"""
