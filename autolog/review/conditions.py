"""The small language by which runs are chosen: ``val/accuracy > 0.9 and 'nightly' in tags``.

A name is a key as it stands in a run (``params/lr``, ``val/accuracy``), or one of
what every run has (``status``, ``name``, ``tags``, ``seconds`` ...). A key that holds other characters than
letters, digits and ``_ / . -`` stands between backticks.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Condition", "ConditionError", "parsed", "unknown"]

Lookup = Callable[[str], Any]


class ConditionError(ValueError):
    """A condition that is not understood; the text shows where, and what would be."""


@dataclass(frozen=True)
class Condition:
    """A condition on a run.

    Attributes:
        text: as it was written.
        names: the keys that it asks for.
        holds: whether it is true of a run, given what finds a key's value there (None: the run has none).
    """

    text: str
    names: frozenset[str]
    holds: Callable[[Lookup], bool]


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'[^']*'|"[^"]*")
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w/]))
    | (?P<key>`[^`]+`)
    | (?P<compare>==|!=|>=|<=|>|<|=)
    | (?P<bracket>[()])
    | (?P<word>[^\W\d][\w/.\-]*)
    )""",
    re.VERBOSE,
)
_CONSTANTS = {"true": True, "false": False, "none": None}


def parsed(text: str) -> Condition:
    """Understand a condition.

    Raises:
        ConditionError: it is none.
    """
    return _Parser(text).condition()


class _Parser:
    """By descent: ``or`` binds least, then ``and``, ``not``, a comparison."""

    def __init__(self, text: str):
        self.text = text
        self.names: set[str] = set()
        self.tokens = list(self._tokens())
        self.place = 0

    def _tokens(self) -> Iterable[tuple[str, str, int]]:
        at = 0
        while at < len(self.text.rstrip()):
            found = _TOKEN.match(self.text, at)
            if found is None or found.lastgroup is None:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                raise self._error(f"{self.text[at]!r} has no meaning here", at)
            yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
            at = found.end()

    def condition(self) -> Condition:
        if not self.tokens:
            raise self._error("nothing is asked", 0)
        holds = self._either()
        if self.place < len(self.tokens):
            kind, what, at = self.tokens[self.place]
            if kind == "compare":
                raise self._error("two comparisons need 'and' between them", at)
            raise self._error(f"'and' or 'or' is missing before {what!r}", at)
        return Condition(self.text, frozenset(self.names), holds)

    def _either(self) -> Callable[[Lookup], bool]:
        parts = [self._all()]
        while self._comes("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda of: any(part(of) for part in parts)

    def _all(self) -> Callable[[Lookup], bool]:
        parts = [self._one()]
        while self._comes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda of: all(part(of) for part in parts)

    def _one(self) -> Callable[[Lookup], bool]:
        if self._comes("not"):
            inner = self._one()
            return lambda of: not inner(of)
        if self._comes("("):
            inner = self._either()
            if not self._comes(")"):
                raise self._error("a ')' is missing", len(self.text))
            return inner
        return self._comparison()

    def _comparison(self) -> Callable[[Lookup], bool]:
        left = self._operand()
        if self._comes("in"):
            whole = self._operand()
            return lambda of: _holds(whole(of), left(of))
        if self._comes("not"):
            if not self._comes("in"):
                raise self._error("'in' is missing after 'not'", self._at())
            whole = self._operand()
            return lambda of: not _holds(whole(of), left(of))
        kind, what, at = self._next("a comparison (==, !=, >, >=, <, <=, in)")
        if kind != "compare":
            raise self._error("a comparison (==, !=, >, >=, <, <=, in) is missing", at)
        if what == "=":
            raise self._error("equal is '=='", at)
        compare, right = _COMPARED[what], self._operand()
        return lambda of: _compared(compare, left(of), right(of))

    def _operand(self) -> Callable[[Lookup], Any]:
        kind, what, at = self._next("a key, a number or a 'text'")
        if kind == "text":
            quoted = what[1:-1]
            return lambda of: quoted
        if kind == "number":
            number = float(what) if any(c in what for c in ".eE") else int(what)
            return lambda of: number
        if kind == "word" and what.lower() in _CONSTANTS:
            constant = _CONSTANTS[what.lower()]
            return lambda of: constant
        if kind in ("word", "key") and what not in ("and", "or", "not", "in"):
            name = what.strip("`")
            self.names.add(name)
            return lambda of: of(name)
        raise self._error(f"a key, a number or a 'text' is expected, not {what!r}", at)

    def _comes(self, word: str) -> bool:
        is_here = self.place < len(self.tokens) and self.tokens[self.place][1] == word
        self.place += is_here
        return is_here

    def _next(self, expected: str) -> tuple[str, str, int]:
        if self.place >= len(self.tokens):
            raise self._error(f"{expected} is missing at the end", len(self.text))
        self.place += 1
        return self.tokens[self.place - 1]

    def _at(self) -> int:
        return self.tokens[self.place][2] if self.place < len(self.tokens) else len(self.text)

    def _error(self, why: str, at: int) -> ConditionError:
        return ConditionError(
            f"{why}:\n  {self.text}\n  {' ' * at}^\n"
            "Write it like \"val/accuracy > 0.9 and params/lr == 0.1 and 'nightly' in tags\"."
        )


def _compared(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if compare in (operator.eq, operator.ne):
        return compare(left, right)
    if left is None or right is None:  # a run that lacks it
        return False
    try:
        return bool(compare(left, right))
    except TypeError:  # a text and a number
        return False


def _holds(whole: Any, part: Any) -> bool:
    try:
        return part in whole
    except TypeError:
        return False


def unknown(names: Iterable[str], known: Iterable[str]) -> str | None:
    """What to say of names that no run has; None: some run has each."""
    known = sorted(set(known))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            return f"no run has {name!r}.{hint}"
    return None
