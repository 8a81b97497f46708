"""accelerate's trackers are told by what is public: nothing of it is hooked, and nothing private is used."""

from __future__ import annotations

import autolog
from tests.contract import check_table


def test_nothing_private_is_used() -> None:
    check_table("accelerate", [])


def test_the_room_shows_what_a_user_calls() -> None:
    assert dir(autolog.accelerate) == ["TrackioTracker"]
