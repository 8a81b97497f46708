"""Which run pays for our time at a call on an object (an estimator, a model): known weakly, by identity.

An estimator, a model, a trainer or a study is somebody else's. What is known of it is the run that records
it, which pays for the time that a call on it costs us.
"""

from __future__ import annotations

import weakref
from typing import Any

from autolog.process.guard import Account

__all__ = ["account_of", "bind_account"]

_accounts: dict[int, tuple[weakref.ref[Any], Account]] = {}


def bind_account(subject: Any, account: Account) -> None:
    """From now on this object belongs to this account. One that takes no weak reference is not remembered."""
    key = id(subject)
    accounts = _accounts
    try:
        reference = weakref.ref(subject, lambda _: accounts.pop(key, None))
    except TypeError:
        return
    accounts[key] = (reference, account)


def account_of(subject: Any) -> Account | None:
    """Whose account is charged for a call on this object."""
    known = _accounts.get(id(subject))
    return known[1] if known is not None and known[0]() is subject else None
