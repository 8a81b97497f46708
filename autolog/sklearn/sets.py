"""Which data a run was evaluated on: the sets of one run, by their content, and what they are called."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from autolog.capture.datasets import Read
from autolog.core.evaluations import name_here, say_main
from autolog.core.recording import Recording
from autolog.sklearn.known import Sighting, is_full, mark_of, training_data
from autolog.sklearn.values import Values

__all__ = ["Set", "is_target", "name_set", "set_of"]

MOST_SETS = 20  # evaluation sets of one run; further ones are counted, not recorded


@dataclass
class Set:
    """A set of data that a run was evaluated on."""

    name: str
    done: set[str] = field(default_factory=set)  # "labels", "scores"
    derived: str | None = None  # how the user has made the labels that it was evaluated by
    is_described: bool = False  # what data it is stands in the config
    weight: str | None = None  # a mark of the weights that it was evaluated with
    model: weakref.ref[Any] | None = None  # that was evaluated first, of several in one run
    given: bool = False  # to the fit, by the user
    is_named: bool = False  # by the user, see autolog.evaluation
    trainings: int = 0  # of the model, by then: once it has learned more, the same data says something new
    values: Values = field(init=False)

    def __post_init__(self) -> None:
        self.values = Values(self.name)


_sets: weakref.WeakKeyDictionary[Recording, dict[Any, Set]] = weakref.WeakKeyDictionary()

# Those with a name of the user's, who may call the same data by two names in turn.
_named: weakref.WeakKeyDictionary[Recording, dict[Any, Set]] = weakref.WeakKeyDictionary()


def set_of(run: Recording, truth: Any, read: Read | None, X: Any) -> Set | None:
    """The evaluation set that this is: the training data, or a held-out set by order of sight.

    Args:
        truth: None: whichever it is.
        read: what is known of X; None: it is gone.
    """
    full = is_full(run)
    mark = (None if read is None else read.mark, mark_of(truth, full=full))
    sets = _sets.setdefault(run, {})
    if (name := name_here()) is not None:
        named = _named.setdefault(run, {})
        one = named.setdefault((mark, name.text), Set(name.text, is_named=True))
        if truth is not None:
            sets[mark] = one
        say_main(run, name)
        return one
    if truth is None:
        mark = next((known for known in sets if known[0] == mark[0]), mark)
    elif mark not in sets and (mark[0], None) in sets:  # by now only parts of it were seen
        sets[mark] = sets.pop((mark[0], None))
    if mark not in sets:
        known = training_data.get(run)
        seen = known.name_of(X, read, mark[1], full=full) if known is not None else Sighting(None)
        if seen.name is not None and seen.name.startswith("train"):
            sets[mark] = Set(seen.name)
            return sets[mark]
        # Where the fit had an evaluation set of its own, what comes later is another one.
        first = seen.name or ("test" if any(s.given for s in sets.values()) else "val")
        others = [s.name.partition("/")[0] for s in sets.values() if not (s.given or s.is_named)]
        number = 1 + sum((name == "eval") == (first == "eval") for name in others if name != "train")
        if number > MOST_SETS:
            run.note("evaluation", f"only the first {MOST_SETS} evaluation sets are recorded")
            return None
        sets[mark] = Set(first if number == 1 else f"{first}/set-{number}")
        if seen.note is not None:
            run.note(sets[mark].name, seen.note)
    return sets[mark]


def is_target(run: Recording, truth: Any) -> bool:
    """Whether a run was trained on this target, or evaluated by it."""
    mark = mark_of(truth, full=is_full(run))
    known = training_data.get(run)
    return (known is not None and known.y == mark) or any(y == mark for _, y in _sets.get(run, {}))


def name_set(run: Recording, X: Any, y: Any, name: str) -> None:
    """An evaluation set that was given to the fit."""
    full = is_full(run)
    _sets.setdefault(run, {})[mark_of(X, full=full), mark_of(y, full=full)] = Set(name, given=True)
