"""Values, durations and ages as a person reads them; texts from records, made harmless."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

__all__ = ["age_of", "ago", "bytes_of", "duration_of", "file_names", "harmless", "plain_json", "told"]

LONGEST = 60


def told(value: Any, longest: int = LONGEST) -> str:
    """A value in a table: numbers with four digits that count, texts on one line."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (dict, list, tuple)):
        value = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    text = " ".join(harmless(str(value)).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# C0 and C1 but for line ends and tabs, and what turns the direction of a text.
_DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def harmless(text: str) -> str:
    """A text without what a terminal would obey: each such character is shown as its code."""
    return _DANGEROUS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def duration_of(seconds: float) -> str:
    """``0.41 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def age_of(seconds: float) -> str:
    """``now``, ``5 min``, ``3 h``, ``2 days``."""
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86400:.0f} days"


def ago(seconds: float) -> str:
    """``just now``, ``5 min ago``."""
    return "just now" if seconds < 60 else f"{age_of(seconds)} ago"


def bytes_of(size: float) -> str:
    """``312 B``, ``4.1 KB``, ``2.3 MB``."""
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def plain_json(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinities by their names, as Trackio stores them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    return value


def file_names(names: Iterable[str]) -> Iterator[str]:
    """As files can be called on any disk, no two alike."""
    seen = dict[str, int]()  # names as a disk compares them, with the number that may be free behind them
    for name in names:
        plain = (
            re.sub(r"[^\w.=+-]+", "_", name).encode()[:100].decode(errors="ignore").strip("._") or "unnamed"
        )
        found, number = plain, seen.get(_as_compared(plain), 1)
        while _as_compared(found) in seen:
            number += 1
            found = f"{plain}-{number}"
        seen[_as_compared(plain)] = number
        seen.setdefault(_as_compared(found), 1)
        yield found


def _as_compared(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
