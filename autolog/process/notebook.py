"""The cell of a notebook that runs now, and the one quiet display in it that is updated in place.

What is printed to stderr stands red below a cell, as if something had failed, and ever more of it. A display
is addressed by its own id, so it can be changed from any thread, and after its cell has ended. It is made by
the main thread alone, which runs the cells: another thread's lands in whichever cell comes to run.

IPython's own shell is asked; nothing is imported for it.
"""

from __future__ import annotations

import html
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from autolog.process import forks, threads
from autolog.process.guard import shield

__all__ = ["change", "is_here", "shell", "show", "when_cell_ends"]

SECONDS = 0.2  # between two updates: a loop of short trainings neither waits for them nor floods the page
MOST_LINES = 5

_lock = threading.RLock()  # a signal handler may come back to it
_cell: Cell | None = None  # what is displayed in the cell that runs now
_cell_of: dict[str, Cell] = {}  # by what a line is about, for as long as that may change
_when_cell_ends: list[Callable[[], object]] = []
_is_forked = False  # what a worker has to say is nobody's cell


def shell() -> Any:
    """IPython's shell, if the program runs in one."""
    ipython = sys.modules.get("IPython")
    ask = getattr(ipython, "get_ipython", None)  # absent while IPython is being imported
    found = ask() if ask is not None else None
    return found if hasattr(found, "user_ns") else None


def is_here() -> bool:
    """Whether the program is a notebook's: its shell belongs to a kernel."""
    return hasattr(shell(), "kernel")


def when_cell_ends(function: Callable[[], object]) -> Callable[[], object]:
    """Call this at the end of each cell, from the first one on that something is shown in."""
    _when_cell_ends.append(function)
    return function


def show(about: str, text: str, link: str | None = None) -> None:
    """Show a line in the cell that runs now, unless another thread than the cell's asks for it.

    Args:
        link: a URL to open beside it.
    """
    if _is_forked or threading.current_thread() is not threading.main_thread():
        return
    with shield("what a notebook shows"), _lock:
        _cell_of[about] = _this_cell()
        _say(_cell_of[about], about, text, link)


def change(about: str, text: str, link: str | None = None, *, is_last: bool = False) -> None:
    """Show this in the place of what was shown about the same, in whichever cell that stands.

    Args:
        is_last: whether nothing more will be said about it.
    """
    if _is_forked:
        return
    with shield("what a notebook shows"), _lock:
        cell = _cell_of.pop(about, None) if is_last else _cell_of.get(about)
        if cell is not None:
            _say(cell, about, text, link)


def _say(cell: Cell, about: str, text: str, link: str | None) -> None:
    for gone in cell.say(about, text, link):
        _cell_of.pop(gone, None)


def _this_cell() -> Cell:
    global _cell
    if _cell is None:
        here = shell()
        here.events.register("pre_run_cell", _another_cell)
        here.events.register("post_run_cell", _end_of_cell)
        _cell = Cell(here.display_pub.publish)
    return _cell


def _another_cell(*_: Any) -> None:
    """What was displayed since the last cell's end (by a button, say) is not this one's."""
    global _cell
    _cell = None


def _end_of_cell(*_: Any) -> None:
    global _cell
    with shield("what a notebook shows"):
        for function in _when_cell_ends:
            function()
        with _lock:
            changed = {*_cell_of.values(), *([_cell] if _cell is not None else [])}
            _cell = None
        for cell in changed:
            cell.publish()


class Cell:
    """What is displayed in one cell: some lines, the last ones of them if there are many.

    Args:
        publish: IPython's way to the page.
    """

    def __init__(self, publish: Callable[..., object]):
        self._publish = publish
        self._id = uuid.uuid4().hex
        self._lines: dict[str, tuple[str, str | None]] = {}
        self._left_out = 0
        self._shown: dict[str, str] | None = None
        self._shown_at = 0.0
        self._is_due = False

    def say(self, about: str, text: str, link: str | None) -> list[str]:
        """Say this of it from now on; returns what is no longer shown."""
        self._lines[about] = text, link
        gone = list(self._lines)[:-MOST_LINES]
        for old in gone:
            del self._lines[old]
        self._left_out += len(gone)
        self._show_soon()
        return gone

    def _show_soon(self) -> None:
        wait = self._shown_at + SECONDS - time.monotonic()
        if wait <= 0:
            self.publish()
        elif not self._is_due:
            self._is_due = True
            threads.after(wait, self._publish_later)

    def _publish_later(self) -> None:
        with shield("what a notebook shows"):
            self.publish()

    def publish(self) -> None:
        """Show it as it stands now, unless it is shown already."""
        with _lock:
            self._is_due = False
            data = self._data()
            if data == self._shown:
                return
            is_update = self._shown is not None
            self._shown, self._shown_at = data, time.monotonic()
            self._publish(data, transient={"display_id": self._id}, update=is_update)

    def _data(self) -> dict[str, str]:
        lines = list(self._lines.values())
        if self._left_out:
            lines.insert(0, (f"{self._left_out} more before", None))
        plain = "\n".join(f"autolog: {text}{f' · {link}' if link else ''}" for text, link in lines)
        rows = "".join(_row(text, link) for text, link in lines)
        return {"text/plain": plain, "text/html": f'<div style="{STYLE}">{rows}</div>'}


STYLE = "font-size:90%;opacity:.75"  # in the page's own colours, light or dark


def _row(text: str, link: str | None) -> str:
    opens = f' · <a href="{html.escape(link)}" target="_blank" rel="noopener">open</a>' if link else ""
    return f"<div>autolog: {html.escape(text)}{opens}</div>"


def _forget_in_child() -> None:
    """The cell is the parent's."""
    global _lock, _is_forked
    _lock, _is_forked = threading.RLock(), True


forks.when_forked("notebook", in_child=_forget_in_child)
