"""accelerate's trackers are told by what is public: nothing of it is hooked, and nothing private is used."""

from __future__ import annotations

from tests.contract import check_table


def test_nothing_private_is_used() -> None:
    check_table("accelerate", [])
