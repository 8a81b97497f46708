"""What knowing data by its content costs: ``python -m benchmarks.fingerprints``, or ``--quick`` up to 100 MB.

Numbers (float64, 20 columns) and texts (one column of objects, of eight bytes and 21 characters each; up to
50,000 different ones), each read once: the hashes of the rows, from which come the fingerprint and the
knowledge of training rows. Beside it what BLAKE2b takes for the same bytes (of texts: for their characters).
Beyond 100 MB of numbers and 10 MB of texts a part of the rows is read, unless ``fingerprint="full"``. Then
what it takes to look up a fifth of the rows, sorting included. Last, what a small fit pays: to describe
200 x 10 with a target, reading included. The least of several times.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from autolog.capture import datasets
from autolog.capture.overlap import KnownRows

TURNS = 7
SIZES = [1, 100, 1_000]  # MB
WORDS = 50_000  # distinct texts


def least(function: Callable[[], Any], turns: int = TURNS) -> float:
    """Milliseconds."""
    found = []
    for _ in range(turns):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return 1e3 * min(found)


def numbers(megabytes: int) -> tuple[Any, bytes]:
    array = np.random.default_rng(0).random((megabytes * 1_000_000 // 160, 20))
    return array, array.data


def texts(megabytes: int) -> tuple[Any, bytes]:
    words = np.array([f"the text number {n:05}" for n in range(WORDS)], dtype=object)  # 21 characters
    column = words[np.random.default_rng(0).integers(0, WORDS, megabytes * 1_000_000 // 29)]
    return column, "".join(column.tolist()).encode()


def measured(kind: str, megabytes: int, value: Any, content: Any) -> None:
    plain = least(lambda: hashlib.blake2b(content).digest(), 3)
    for full in (False, True):
        found = datasets.read(value, full=full)
        if full and not datasets.read(value).sampled:
            continue
        ours = least(lambda full=full: datasets.read(value, full=full), 3 if megabytes > 100 else TURNS)
        rows = found.rows
        known = KnownRows.of(rows)
        part = datasets.read(value[: len(value) // 5]).rows

        def look_up(known: KnownRows = known, part: Any = part) -> None:
            vars(known).pop("ordered", None)
            vars(known).pop("twins", None)
            known.overlap(part)

        how = "full" if full else f"every {rows.step}th row" if rows.step > 1 else "all"
        print(
            f"{f'{megabytes:,} MB of {kind}, {how}':<44}{ours:>10.1f}{plain:>10.1f}"
            f"{ours / plain:>8.2f}{least(look_up, 3):>10.1f}",
            flush=True,
        )


def small() -> None:
    table, labels = np.random.default_rng(0).random((200, 10)), np.arange(200) % 2
    frame = pd.DataFrame(table, columns=list("abcdefghij"))
    for name, X, y in (
        ("array", table, labels),
        ("frame", frame, pd.Series(labels)),
        ("lists", table.tolist(), labels.tolist()),
    ):
        spent = 1e3 * least(lambda X=X, y=y: datasets.describe(X, y), 300)
        read = 1e3 * least(lambda X=X, y=y: (datasets.read(X), datasets.read(y)), 300)
        print(f"{f'200 x 10, {name}':<44}{spent:>10.0f}{read:>10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 100 MB")
    quick = parser.parse_args().quick
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} cores; milliseconds")
    print(f"{'':<44}{'read':>10}{'BLAKE2b':>10}{'ratio':>8}{'look up':>10}")
    for kind, make in (("numbers", numbers), ("texts", texts)):
        for megabytes in SIZES[:2] if quick else SIZES:
            measured(kind, megabytes, *make(megabytes))
    print(f"\n{'microseconds':<44}{'describe':>10}{'reading':>10}")
    small()


if __name__ == "__main__":
    main()
