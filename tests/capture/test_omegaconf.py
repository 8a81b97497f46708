"""Configurations of OmegaConf: references followed, nothing called, nothing raised."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from argparse import Namespace

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from autolog.capture.params import sanitize


@dataclasses.dataclass
class Optimizer:
    lr: float = 0.1
    steps: int = "${total}"
    name: str = "???"


@pytest.fixture
def called():
    """How often a resolver of the user's was called."""
    calls = []
    OmegaConf.register_new_resolver("draw", lambda: calls.append(1) or 3, replace=True)
    yield calls
    OmegaConf.clear_resolver("draw")


def test_references_are_followed_and_resolvers_are_not_called(called):
    config = OmegaConf.create(
        {
            "total": 10,
            "optimizer": OmegaConf.structured(Optimizer),
            "same": "${total}",
            "text": "${same} steps",
            "part": "${optimizer}",
            "list": [1, "${..total}", {"up": "${total}"}],
            "drawn": "${draw:}",
            "through": "${drawn}",
            "home": "${oc.env:HOME}",
            "written": "\\${total}",
            "none": None,
            "shape": [1, 2],
        }
    )
    optimizer = {"lr": 0.1, "steps": 10, "name": "???"}
    assert sanitize(config) == {
        "total": 10,
        "optimizer": optimizer,
        "same": 10,
        "text": "10 steps",
        "part": optimizer,
        "list": [1, 10, {"up": 10}],
        "drawn": "${draw:}",
        "through": "${draw:}",
        "home": "${oc.env:HOME}",
        "written": "${total}",
        "none": None,
        "shape": [1, 2],
    }
    assert sanitize({"a": config.optimizer, "b": config.list[2]}) == {"a": optimizer, "b": {"up": 10}}
    assert called == []
    assert config.drawn == 3, "the user's own resolver still works"


def test_what_leads_nowhere_stays_as_it_is_written():
    config = OmegaConf.create(
        {
            "a": "${nope}",
            "b": "${c}",
            "c": "${b}",
            "d": "${e}",
            "e": "???",
            "f": {"g": "${f}"},
            "ok": "${one}",
            "one": 1,
        }
    )
    assert sanitize(config) == {
        "a": "${nope}",
        "b": "${c}",
        "c": "${b}",
        "d": "${e}",
        "e": "???",
        "f": {"g": "${f}"},
        "ok": 1,
        "one": 1,
    }


@pytest.mark.parametrize("config", [DictConfig(None), ListConfig(None), DictConfig("???"), ListConfig("???")])
def test_a_container_of_nothing(config):
    assert sanitize(config) in (None, "???")


def test_secrets_are_masked():
    config = OmegaConf.create(
        {"db": {"password": "abc", "url": "https://me:pw@host/${db.name}", "name": "x"}}
    )
    assert sanitize(config) == {"db": {"password": "***", "url": "https://***@host/x", "name": "x"}}


def test_it_is_bounded():
    config = OmegaConf.create({f"k{n}": n for n in range(300)})
    assert sanitize(config)["…"] == "(+100 items)"
    nested = OmegaConf.create({"a": {"b": {"c": {"d": 1}}}})
    assert sanitize(nested, depth=2) == {"a": {"b": "dict(1 items)"}}


def test_objects_in_a_configuration():
    config = OmegaConf.create(
        {"model": Namespace(depth=3), "twice": "${n}", "n": 1}, flags={"allow_objects": True}
    )
    assert sanitize(config) == {"model": {"depth": 3}, "twice": 1, "n": 1}


def test_knowing_omegaconf_does_not_import_it():
    code = (
        "import sys; from autolog.capture.params import sanitize; sanitize({'a': [1]}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"omegaconf", "yaml"} & set(done.stdout.split())
