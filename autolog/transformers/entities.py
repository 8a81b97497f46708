"""Entities in tagged tokens: how many of each kind were found, as CoNLL counts them.

An entity is right if its kind, its first and its last token are. Tags are those of IOB2 (``B-PER``,
``I-PER``, ``O``) and of its kin with ``E-`` for the last token and ``S-`` for a single one; where one begins
without ``B-``, conlleval's rule holds: with a tag of another kind, or after ``O``
(https://github.com/sighsmile/conlleval, ``start_of_chunk`` and ``end_of_chunk``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Entities", "entities"]

Entity = tuple[str, int, int]
_BEGINS, _ENDS = {"B", "S"}, {"E", "S", "O"}


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """Kind, first and last token of each entity of one text."""
    kind, start, before = "", -1, "O"
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        mark = mark if name else "O"
        begins = mark != "O" and (mark in _BEGINS or before in _ENDS or name != kind)
        if start >= 0 and (begins or mark == "O" or before in _ENDS):
            yield kind, start, place - 1
            start = -1
        if begins:
            start = place
        kind, before = name, mark


class Entities:
    """Counts over many texts.

    Attributes:
        tags: the classes' names by their number.
    """

    def __init__(self, tags: Mapping[int, str]):
        self.tags = tags
        self._true: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._right: Counter[str] = Counter()

    @staticmethod
    def are_in(tags: Mapping[int, str]) -> bool:
        """Whether these are tags of entities, and not classes of single tokens."""
        return any(str(tag).startswith(("B-", "I-", "S-")) for tag in tags.values())

    def add(self, truth: Sequence[int], predicted: Sequence[int]) -> None:
        """One text: the classes of its tokens."""
        true = set(entities([self.tags[number] for number in truth]))
        found = set(entities([self.tags[number] for number in predicted]))
        for counter, which in ((self._true, true), (self._found, found), (self._right, true & found)):
            counter.update(kind for kind, _, _ in which)

    def metrics(self) -> dict[str, float]:
        """Precision, recall and F1 of all entities together; 0 where there were none."""
        rates = _rates(self._right.total(), self._found.total(), self._true.total())
        return {f"entity_{name}": value for name, value in rates.items()}

    def table(self) -> list[dict[str, str | float]]:
        """The same of each kind."""
        return [
            {
                "entity": kind,
                **_rates(self._right[kind], self._found[kind], self._true[kind]),
                "support": self._true[kind],
            }
            for kind in sorted({*self._true, *self._found})
        ]


def _rates(right: int, found: int, true: int) -> dict[str, float]:
    return {
        "precision": right / found if found else 0.0,
        "recall": right / true if true else 0.0,
        "f1": 2 * right / (found + true) if found + true else 0.0,
    }
