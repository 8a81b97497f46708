from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autolog
from autolog import SettingError, Settings
from autolog.core.settings import check_project
from autolog.sinks.trackio.names import RESERVED_PROJECT_SUFFIXES


def test_keyword_beats_variable_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().budget == 0.05
    monkeypatch.setenv("AUTOLOG_BUDGET", "0.2")
    assert Settings.from_environment().budget == 0.2
    assert Settings.from_environment(budget=0.1).budget == 0.1


def test_trackio_variables_count_where_ours_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_PROJECT", "theirs")
    assert Settings.from_environment().project == "theirs"
    monkeypatch.setenv("AUTOLOG_PROJECT", "ours")
    assert Settings.from_environment().project == "ours"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("quiet", "yes", True), ("log_models", "off", False), ("tags", "a, b,", ("a", "b"))]
    + [("artifact_limit", "5", 5), ("project", "p", "p"), ("fingerprint", "full", "full")],
)
def test_every_kind_of_value_can_come_from_a_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(f"AUTOLOG_{name.upper()}", text)
    assert getattr(Settings.from_environment(), name) == value


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"projekt": "x"}, "Did you mean 'project'"),
        ({"quiet": "yes"}, "quiet='yes': expected True or False"),
        ({"budget": -1}, "not negative"),
        ({"budget": float("nan")}, "not negative"),
        ({"project": ""}, "not empty"),
        ({"project": 3}, "expected a text"),
        ({"project": "registry-x"}, "registries"),
        ({"tags": "one"}, "list of strings"),
        ({"share": ["everything"]}, "Valid: data, predictions, code"),
        ({"fingerprint": "ful"}, "Did you mean 'full'.* Valid: auto, full"),
        ({"fingerprint": None}, "Valid: auto, full"),
        ({"sink": "wandb"}, "'trackio', 'memory'"),
        ({"sink": autolog.MemorySink}, "'trackio', 'memory'"),
        ({"finish_timeout": float("inf")}, "finite"),
        ({"server_url": "http://[::1"}, "Invalid IPv6"),
        ({"project": "語" * 120}, "expected 200 at most"),
        ({"server_url": "localhost:7860"}, "http://"),
        ({"space_id": "space"}, "user/space"),
        ({"server_url": "http://a", "space_id": "u/s"}, "one place"),
    ],
)
def test_bad_settings_say_what_is_valid(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        autolog.enable(**settings)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("AUTOLOG_PROJET", "x", "Did you mean 'AUTOLOG_PROJECT'"),
        ("AUTOLOG_QUIET", "perhaps", "expected one of 1, true"),
        ("AUTOLOG_BUDGET", "much", "expected a number"),
        ("AUTOLOG_DISABLE", "maybe", "expected one of"),
    ],
)
def test_bad_variables_say_so(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingError, match=said):
        autolog.enable()


def test_trackios_run_name_is_the_runs_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_RUN", "theirs")
    assert Settings.from_environment().run_name == "theirs"
    sink = autolog.MemorySink()
    with autolog.enabled(sink=sink, log_code=False), autolog.run() as run, run.child():
        pass
    assert [kept.name.split(" ·")[0] for kept in sink.runs] == ["theirs", "run"]


def test_a_write_token_is_taken_out_of_the_url_and_never_shown() -> None:
    settings = Settings.from_environment(server_url="http://host:1/?write_token=s3cret&x=1")
    assert settings.server_url == "http://host:1/?x=1"
    assert settings.write_token == "s3cret"
    assert "s3cret" not in repr(settings)


def test_a_place_given_by_hand_is_not_overruled_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_SPACE_ID", "user/space")
    assert Settings.from_environment().space_id == "user/space"
    by_hand = Settings.from_environment(server_url="http://host")
    assert (by_hand.server_url, by_hand.space_id) == ("http://host", None)


def test_disable_variable_turns_everything_off() -> None:
    program = (
        "import autolog; autolog.enable()\n"
        "from sklearn.linear_model import LinearRegression\n"
        "LinearRegression().fit([[0.], [1.]], [0., 1.])\n"
        "with autolog.run('r') as run: run.log({'a': 1}); autolog.current_run().log({'b': 2})\n"
        "autolog.current_run().log({'c': 3})\n"
        "import sys; print(autolog.status()[0].on, 'trackio' in sys.modules)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program],
        env={**__import__("os").environ, "AUTOLOG_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.split() == ["False", "False"]
    assert out.stderr == ""


def test_reserved_suffixes_are_those_of_trackio() -> None:
    from trackio.sqlite_storage import SQLiteStorage

    for suffix in RESERVED_PROJECT_SUFFIXES:
        with pytest.raises(ValueError, match="reserved suffix"):
            SQLiteStorage.validate_project_name(f"x{suffix}")


@given(
    st.one_of(
        st.text(max_size=30),
        st.from_regex(
            r"(registry-)?[a-z.]{0,6}_(system|configs|artifacts|versions|links|run)?", fullmatch=True
        ),
    )
)
def test_project_names_are_refused_exactly_when_trackio_refuses(name: str) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    def refused(check: object) -> bool:
        try:
            check(name)  # type: ignore[operator]
        except ValueError:
            return True
        return False

    assert refused(check_project) == refused(SQLiteStorage.validate_project_name)
