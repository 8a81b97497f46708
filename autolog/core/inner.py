"""A model of one framework whose training another framework's room records.

scikit-learn's room records the fit of an ``XGBClassifier``. How many trees that has, and how it is written to
a file, is known to XGBoost's room. It is asked whether or not it is turned on.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any, Protocol, cast

from autolog.core.catalogue import TABLE, can_be_recorded
from autolog.core.kept import NativeFile
from autolog.core.recording import Recording

__all__ = ["InnerRoom", "inner_room", "library_of"]


class InnerRoom(Protocol):
    """The module ``inner`` of a room."""

    def is_fitted(self, model: Any) -> bool:
        """Whether the library has trained it: a user's own ``fit`` may do something else."""

    def record_inner(self, run: Recording, model: Any, *, is_whole: bool) -> None:
        """Record what a model has learned.

        Args:
            run: of the training that it is inside of.
            model: a fitted estimator.
            is_whole: it is all that was trained, no step of a pipeline: the run's parameters are its.
        """

    def native_file(self, model: Any) -> NativeFile:
        """The model as a file in its library's own format."""


def inner_room(model: Any) -> InnerRoom | None:
    """The room that knows a model of this class.

    Returns:
        None: there is none, it does not know this version, or its library has not trained the model.
    """
    package = library_of(model)
    room = _room_of(package) if package is not None else None
    return room if room is not None and room.is_fitted(model) else None


@functools.cache  # the library is imported, so it stays what it is; and it is asked twice for each fit
def _room_of(package: str) -> InnerRoom | None:
    if not can_be_recorded(package):
        return None
    return cast(InnerRoom, importlib.import_module(f"{TABLE[package].module}.inner"))


def library_of(model: Any) -> str | None:
    """The library that trains a model of this class, by its package; None: it has no room of its own."""
    packages = ((kind, kind.__module__.partition(".")[0]) for kind in type(model).__mro__)
    return next((p for kind, p in packages if p in TABLE and TABLE[p].estimator == kind.__name__), None)
