"""The sets of data that a model is trained and evaluated on, where a library has a form of its own for them.

What was read of the user's array or frame is known by the library's object, in a weak table: there it cannot
be read any more. A set is known again by its content, whatever holds it.
"""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autolog.capture import datasets
from autolog.capture.datasets import Dataset, Read
from autolog.capture.fingerprints import combined
from autolog.capture.kinds import is_lazy
from autolog.capture.overlap import KnownRows
from autolog.core import settings as settings_module
from autolog.core.evaluations import name_here, say_main
from autolog.core.recording import Recording

__all__ = ["Facts", "Sets", "are_known", "facts_of", "learn", "plain_target", "record_data", "sets_of"]

_OF_TRAINING = {"train", "training", "learn", "dtrain"}
_LEAKED = "{0:,} of {1:,} rows that were looked up also occur in the training data"
_UNKNOWN = (
    "{0:,} of {1:,} rows occur in the training data: whether this set was held out cannot be known."
    " Say what it is: with autolog.evaluation('test'): ..."
)

_numbers = itertools.count()


@dataclass(eq=False)
class Facts:
    """What is known of a data set.

    Attributes:
        read: what one pass over its features has found; None: nobody of ours has seen them.
        described: the same for a person.
        mark: what its features are known by.
    """

    read: Read | None = None
    described: Dataset | None = None
    mark: str = field(default_factory=lambda: f"unread {next(_numbers)}")

    @classmethod
    def of(cls, X: Any) -> Facts:
        """Of features that are here to be read."""
        read = datasets.read(X, full=settings_module.current().fingerprint == "full")
        return cls(read, datasets.describe(X, parts=[read]), read.mark)


_facts: dict[int, tuple[weakref.ref[Any], Facts]] = {}


def learn(subject: Any, X: Any) -> Facts:
    """Read features that a library's object is made of, and know them by the object from now on."""
    facts = Facts.of(X)
    _remember(subject, facts)
    return facts


def facts_of(subject: Any) -> Facts:
    """What is known of an object's features."""
    known = _facts.get(id(subject))
    if known is not None and known[0]() is subject:
        return known[1]
    facts = Facts()
    _remember(subject, facts)
    return facts


def _remember(subject: Any, facts: Facts) -> None:
    key, table = id(subject), _facts
    table[key] = weakref.ref(subject, lambda _: table.pop(key, None)), facts


def plain_target(y: Any) -> Any:
    """A target as libraries hand it out, as a person would write it: classes 0.0, 1.0 are 0, 1."""
    array = np.asarray(y)
    if array.dtype.kind == "f" and array.size and bool(np.isfinite(array).all()):
        whole = array.astype(np.int64)
        if bool((whole == array).all()):
            return whole
    return array


def _mark_of_target(y: Any) -> str | None:
    """Libraries keep targets in 32 bits."""
    if y is None:
        return None
    if is_lazy(y):
        return datasets.read(y).mark
    array = np.asarray(y)
    return datasets.read(array.astype(np.float32) if array.dtype.kind in "biuf" else array).mark


# In the config ----------------------------------------------------------------------------------------


def record_data(
    run: Recording,
    name: str,
    facts: Facts,
    y: Any,
    *,
    weight: Any = None,
    more: Mapping[str, Any],
    why: str = "without a fingerprint: it was made where autolog could not see what of",
) -> None:
    """Shape, types, balance, fingerprint and weights of a set; of the training data the first rows, too.

    Args:
        more: what the library knows beside that: ``shape``, ``columns``, ``categorical``.
        why: what is said where nobody of ours has seen its features.
    """
    if not run.settings.log_data or not sets_of(run).is_new(name):
        return
    found: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    described = facts.described
    if described is not None and facts.read is not None:
        parts = [facts.read] if y is None else [facts.read, datasets.read(y)]
        found = dataclasses.replace(described, fingerprint=combined(parts)).config()
        notes += described.notes
    else:
        notes = (why,)
    if y is not None:
        target = datasets.describe(y, y, head=0)
        found["target"] = target.target
        notes += target.notes
    if weight is not None and not is_lazy(weight) and len(weight):
        weights = np.asarray(weight, dtype=float)
        numbers = {"min": weights.min(), "max": weights.max(), "sum": weights.sum()}
        found["weights"] = {"rows": len(weights), **{key: float(value) for key, value in numbers.items()}}
    for what in dict.fromkeys(notes):
        run.note(f"data/{name}", what)
    found |= {key: value for key, value in more.items() if value is not None}
    run.describe({f"data/{name}": {key: value for key, value in found.items() if value is not None}})
    if name != "train" or described is None or not described.head:
        return
    if not run.keeps("data"):
        run.note("data/head", "not sent to the server: Settings.share does not name 'data'")
        return
    head = described.head
    if y is not None and not is_lazy(y) and np.ndim(y) == 1:
        targets = datasets.rows(y, len(head))
        head = [{**row, "target": one["value"]} for row, one in zip(head, targets, strict=False)]
    run.table("data/head", head)


# Their names ------------------------------------------------------------------------------------------


class Sets:
    """What the data sets of one run are called, by their content: see docs/keys.md."""

    def __init__(self, run: Recording):
        self._run_of = weakref.ref(run)  # who is remembered as long as the run is there must not hold it
        self._known: KnownRows | None = None
        self._names: dict[tuple[str | None, str | None], str] = {}
        self._are_given = False
        self._described: set[str] = set()

    def is_new(self, name: str) -> bool:
        """Whether it is described for the first time."""
        known = name in self._described
        self._described.add(name)
        return not known

    @property
    def _run(self) -> Recording:
        run = self._run_of()
        assert run is not None, "whoever asks has the run"
        return run

    def trained_on(self, facts: Facts, y: Any) -> None:
        """This is the training data."""
        rows = facts.read.rows if facts.read is not None else None
        self._known = KnownRows.of(rows) if rows is not None else None
        self._names[facts.mark, _mark_of_target(y)] = "train"

    def given(self, sets: Iterable[tuple[Facts, Any, str]]) -> list[str]:
        """What the evaluation sets of the training are called, in their order.

        The first held-out one is ``val``. Another one goes by its own name, if it has one that is not just a
        number, and by its place otherwise.

        Args:
            sets: of each its facts, its target, and how the user (or the library) calls it.
        """
        names: list[str] = []
        for facts, y, called in sets:
            key = facts.mark, _mark_of_target(y)
            kind = self._names.get(key) or self._kind_of(facts, called)
            names.append(kind if kind.startswith("train") else self._numbered(kind, called, names))
            self._names.setdefault(key, names[-1])
        self._are_given = any(not name.startswith("train") for name in names)
        return names

    def name(self, facts: Facts | None, y: Any) -> str:
        """What a set is called that the model has predicted.

        Args:
            facts: None: its features are gone, the target alone must tell.
        """
        if (given := name_here()) is not None:
            say_main(self._run, given)
            return given.text
        of_target = _mark_of_target(y)
        known = self._names.get((facts.mark, of_target)) if facts is not None else None
        known = known or self._names.get((None, of_target))  # when its features were gone
        if known is None and (facts is None or facts.read is None):
            known = next((name for (_, target), name in self._names.items() if target == of_target), None)
        if known is None:
            kind = self._kind_of(facts, "") if facts is not None else "val"
            if kind == "val" and self._are_given:  # beside the evaluation sets of the training
                kind = "test"
            known = kind if kind.startswith("train") else self._numbered(kind, "", self._names.values())
            self._names[facts.mark if facts is not None else None, of_target] = known
        return known

    def _kind_of(self, facts: Facts, called: str) -> str:
        """``train``, ``train/part``, ``eval`` (it cannot be known) or ``val``: held out."""
        rows = facts.read.rows if facts.read is not None else None
        if rows is None or self._known is None:
            return "train" if called.lower() in _OF_TRAINING else "val"
        overlap = self._known.overlap(rows)
        if overlap.verdict == "training":
            return "train" if overlap.is_whole else "train/part"
        if overlap.verdict == "unknown":
            self._run.note("eval", _UNKNOWN.format(overlap.found, overlap.looked_up))
            return "eval"
        if overlap.found:
            self._run.note("val", _LEAKED.format(overlap.found, overlap.looked_up))
        return "val"

    @staticmethod
    def _numbered(kind: str, called: str, there: Iterable[str]) -> str:
        alike = [name for name in there if name.partition("/")[0] == kind]
        if not alike:
            return kind
        own = called if called and not called.rpartition("_")[2].isdigit() else f"set-{len(alike) + 1}"
        return f"{kind}/{own}" if f"{kind}/{own}" not in alike else f"{kind}/set-{len(alike) + 1}"


_sets: weakref.WeakKeyDictionary[Recording, Sets] = weakref.WeakKeyDictionary()


def are_known(run: Recording) -> bool:
    """Whether a run's sets are told here: it is of a room that tells them."""
    return run in _sets


def sets_of(run: Recording) -> Sets:
    """The sets of a run."""
    if (known := _sets.get(run)) is None:
        known = _sets[run] = Sets(run)
    return known
