"""Which kind of data a value is, without importing the libraries that it may come from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "column_of",
    "is_frame",
    "is_lazy",
    "is_mapping",
    "is_series",
    "is_sparse",
    "not_computed",
    "tensor_of",
]


def is_frame(value: Any) -> bool:
    """A frame of pandas or polars."""
    return any(
        (module := sys.modules.get(name)) is not None and isinstance(value, module.DataFrame)
        for name in ("pandas", "polars")
    )


def is_lazy(value: Any) -> bool:
    """What Dask computes only when it is asked for: to look inside would start that, and fetch all of it.

    (xarray's arrays have the same method; of one that is in memory ``chunks`` is None.)
    """
    return hasattr(type(value), "__dask_graph__") and getattr(value, "chunks", ()) is not None


def not_computed(value: Any) -> str:
    """Why what is lazy is not looked into."""
    name, library = type(value).__name__, type(value).__module__.partition(".")[0]
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name} of {library} is computed only where you ask"


def is_series(value: Any) -> bool:
    """A series of pandas or polars."""
    return any(
        (module := sys.modules.get(name)) is not None and isinstance(value, module.Series)
        for name in ("pandas", "polars")
    )


def is_mapping(value: Any) -> bool:
    """A mapping, such as columns by name."""
    return isinstance(value, Mapping) and not hasattr(value, "tocsr")  # SciPy's dok is a dict


def is_sparse(value: Any) -> bool:
    """One of SciPy's sparse formats."""
    return hasattr(value, "tocsr") and hasattr(value, "nnz")


def column_of(frame: Any, place: int) -> Any:
    """A column by position, since pandas lets several columns share one name."""
    return frame.iloc[:, place] if hasattr(frame, "iloc") else frame.to_series(place)


def tensor_of(value: Any) -> npt.NDArray[Any] | None:
    """A tensor's memory as an array; None where that would move or copy it."""
    device = getattr(getattr(value, "device", None), "type", None)
    if device != "cpu" or not callable(getattr(value, "detach", None)):
        return None
    array = value.detach().numpy()
    return array if isinstance(array, np.ndarray) else None
