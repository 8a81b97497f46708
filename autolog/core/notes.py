"""What is missing from a run, and why: notes, and faults of our own."""

from __future__ import annotations

__all__ = ["Notes"]

MOST_NOTES = 100
MOST_FAULTS = 20


class Notes:
    """What one run says of itself, under the run's own lock.

    Each method returns what the config says from then on; None: what it said before.
    """

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}
        self._faults: list[str] = []

    def add(self, what: str, why: str) -> dict[str, str] | None:
        """Something is missing."""
        before = self._notes.get(what)
        if before is not None and why in before:
            return None
        self._notes[what] = (f"{before}; {why}" if before else why)[:1_000]
        return dict(list(self._notes.items())[:MOST_NOTES])

    def take_back(self, what: str) -> dict[str, str] | None:
        """It is there now."""
        return dict(self._notes) if self._notes.pop(what, None) is not None else None

    def add_fault(self, message: str) -> list[str] | None:
        """A fault of ours cost the run a record."""
        self._faults.append(message[:500])
        return list(self._faults) if len(self._faults) <= MOST_FAULTS else None
