"""What :func:`autolog.status` returns: a table of frameworks, to read and to print."""

from __future__ import annotations

from dataclasses import dataclass

from autolog.core.hooked import HookCounts

__all__ = ["Status", "StatusTable"]


@dataclass(frozen=True)
class Status:
    """What :func:`autolog.status` found out of one framework.

    Attributes:
        hooks: how many of its hooks are in, how many wait for an import, and which of them are missing,
            with the reason and what is not recorded for that.
    """

    name: str
    on: bool
    version: str | None
    requires: str
    why: str
    hooks: HookCounts


class StatusTable(list[Status]):
    """The rows of :func:`autolog.status`; prints as a table."""

    def __repr__(self) -> str:
        cells = [("framework", "on", "found", "required", "hooks", "why")] + [
            (row.name, "on" if row.on else "off", row.version or "-", row.requires, str(row.hooks), row.why)
            for row in self
        ]
        widths = [max(len(row[column]) for row in cells) for column in range(5)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[5]]) for row in cells
        ]
        for row in self:
            lines += [f"{row.name}: missing: {why}" for why in row.hooks.missing]
        return "\n".join(line.rstrip() for line in lines)

    __str__ = __repr__
