"""What our threads wait by."""

from __future__ import annotations

import threading

from autolog.process.threads import Bell


def test_a_bell_wakes_once_and_waits_no_longer_than_it_may() -> None:
    bell = Bell()
    assert not bell.wait(0.01)
    bell.ring()
    bell.ring()
    assert bell.wait(None)
    assert not bell.wait(0.01)
    threading.Timer(0.05, bell.ring).start()
    assert bell.wait(20)
