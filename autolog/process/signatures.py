"""What a function takes, whatever stands in its annotations."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["signature_of"]


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The same as :func:`inspect.signature`, which since Python 3.14 looks at annotations.

    There one that names what is imported under ``TYPE_CHECKING`` only is a NameError. It is no fault of a
    user's function, and nobody here asks for annotations.

    Raises:
        TypeError, ValueError: as :func:`inspect.signature` does.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)
