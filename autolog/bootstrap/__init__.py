"""The folder that ``autolog run`` puts on PYTHONPATH. It holds `sitecustomize.py`, and no more."""
