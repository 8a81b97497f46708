"""Keras on JAX compiles most of the time; what is the same to the last instruction it compiles once."""

from __future__ import annotations

from pathlib import Path

__all__ = ["compiled_once"]


def compiled_once(folder: Path) -> dict[str, str]:
    """The variables by which JAX keeps in a folder whatever it has compiled."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
