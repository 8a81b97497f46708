from __future__ import annotations

import importlib
import itertools
import logging
import textwrap
import threading
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

import autolog
from autolog import FrameworkError, MemorySink
from autolog.core import catalogue, settings
from autolog.core.catalogue import TABLE
from autolog.process import hooks


def is_on() -> bool:
    return "watching LogisticRegression.fit" in hooks.installed()


def test_enable_and_disable() -> None:
    fit = vars(LogisticRegression)["fit"]
    autolog.enable("sklearn")
    assert is_on()
    assert vars(LogisticRegression)["fit"] is not fit
    autolog.disable("sklearn")
    assert not is_on()
    assert vars(LogisticRegression)["fit"] is fit
    autolog.disable()


def test_enabling_twice_is_enabling_once_with_the_last_settings() -> None:
    autolog.enable(project="one")
    patched = hooks.installed()
    autolog.enable(project="two")
    assert hooks.installed() == patched
    assert settings.current().project == "two"
    autolog.disable()
    assert settings.current().project is None


def test_enabled_restores_what_was_there_settings_included() -> None:
    autolog.enable(project="outer")
    with autolog.enabled("sklearn", project="inner"):
        assert settings.current().project == "inner"
        with autolog.enabled(project="innermost"):
            assert settings.current().project == "innermost"
        assert settings.current().project == "inner"
    assert is_on()
    assert settings.current().project == "outer"
    autolog.disable()
    with autolog.enabled():
        assert is_on()
    assert not is_on()


def test_enabled_restores_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), autolog.enabled():
        raise ZeroDivisionError
    assert not is_on()


def test_enable_from_many_threads() -> None:
    threads = [threading.Thread(target=autolog.enable) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hooks.installed()) == len(set(hooks._places))
    autolog.disable()
    assert not is_on()
    assert "__init_subclass__" not in vars(BaseEstimator)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sklaern", "Did you mean 'sklearn'"),
        ("scikit-learn", "Did you mean 'sklearn'"),
        ("SKLEARN", "Did you mean 'sklearn'"),
        ("lightning.pytorch", "Did you mean 'lightning'"),
        ("xgb", r"autolog.enable\(\"xgboost\"\)"),
        ("lgbm", r"autolog.enable\(\"lightgbm\"\)"),
        ("torch", r"with autolog.torch.watch\(model, optimizer\)"),
        ("PyTorch", r"with autolog.torch.watch\(model, optimizer\)"),
        ("accelerate", r"Accelerator\(log_with=autolog.accelerate.TrackioTracker\(\)\)"),
        ("tf.keras", r"autolog.enable\(\"keras\"\)"),
        ("keras-tuner", r"autolog.enable\(\"keras\"\)"),
        ("trl", r"autolog.enable\(\"transformers\"\)"),
        (3, "expected names"),
        (["sklearn"], "expected names"),
    ],
)
def test_an_unknown_framework(name: str, said: str) -> None:
    for function in (autolog.enable, autolog.disable):
        with pytest.raises(FrameworkError, match=said):
            function(name)
    assert not is_on()


def _snippet_of(name: str) -> str:
    """What the error says is to be written: the last part of it that is code."""
    with pytest.raises(FrameworkError) as error:
        autolog.enable(name)
    parts = str(error.value).split("\n\n")
    return textwrap.dedent(next(part for part in reversed(parts) if part.startswith("    ")))


@pytest.mark.parametrize("name", ["torch", "accelerate", "jax"])
def test_what_it_says_of_loops_works(name: str, sink: MemorySink) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    known: dict[str, Any] = {"autolog": autolog, "step": 1}
    if name == "accelerate":
        known["Accelerator"] = pytest.importorskip(name, reason=f"{name} is not installed").Accelerator
    known["model"] = model = torch.nn.Linear(2, 1)
    known["optimizer"] = torch.optim.SGD(model.parameters())
    known["loss"] = loss = model(torch.ones(1, 2)).sum()
    loss.backward()
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        exec(_snippet_of(name), known)
    (kept,) = sink.runs
    assert kept.metrics["train/loss"] == pytest.approx(loss.item())


def test_the_two_names_of_lightning_are_turned_on_and_off_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    names = {"lightning", "pytorch_lightning"}
    for name, other in itertools.permutations(names):
        autolog.enable(name)
        assert names <= catalogue.turned_on().keys()
        autolog.disable(other)
        assert not names & catalogue.turned_on().keys()
    with autolog.enabled("lightning"):
        pass
    assert not catalogue.turned_on()
    # Either suffices where the other one is not installed.
    monkeypatch.setitem(TABLE, "lightning", TABLE["lightning"]._replace(distribution="no-such-distribution"))
    with autolog.enabled("lightning"):
        assert "pytorch_lightning" in catalogue.turned_on()
    monkeypatch.setitem(TABLE, "pytorch_lightning", TABLE["lightning"]._replace(also_as="lightning"))
    with pytest.raises(FrameworkError, match="lightning cannot be recorded"):
        autolog.enable("lightning")


def changed(monkeypatch: pytest.MonkeyPatch, **fields: str) -> None:
    monkeypatch.setitem(TABLE, "sklearn", TABLE["sklearn"]._replace(**fields))


def test_too_old_raises_by_name_and_is_skipped_otherwise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changed(monkeypatch, requires=">=99")
    with pytest.raises(FrameworkError, match=r"needs >=99. Run: pip install 'scikit-learn>=99'"):
        autolog.enable("sklearn")
    autolog.enable()
    assert not is_on()
    assert "needs >=99" in caplog.text
    row = autolog.status()[0]
    assert not row.on
    assert "needs >=99" in row.why


def test_a_missing_framework_is_named_with_its_pip_install(monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, distribution="no-such-distribution")
    with pytest.raises(FrameworkError, match=r"pip install 'trackio-autolog\[sklearn\]'"):
        autolog.enable("sklearn")
    assert "not installed" in autolog.status()[0].why


def test_newer_than_tested_is_on_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changed(monkeypatch, tested="1.0")
    monkeypatch.setattr(catalogue, "_warned", set())
    for _ in range(2):
        autolog.enable()
        assert is_on()
        autolog.disable()
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "newer than 1.0" in caplog.text


def test_status_reads_well() -> None:
    lines = str(autolog.status()).splitlines()
    assert lines[0].split() == ["framework", "on", "found", "required", "hooks", "why"]
    assert "off" in lines[1]
    assert "autolog.enable('sklearn')" in lines[1]
    with autolog.enabled():
        assert str(autolog.status()).splitlines()[1].split()[1] == "on"


def test_a_framework_without_the_module_that_is_waited_for_is_turned_on_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed(monkeypatch, trigger="sklearn.renamed.base")
    with autolog.enabled("sklearn"):
        assert is_on()


def test_status_counts_hooks() -> None:
    pytest.importorskip("zenml", reason="zenml is not installed, whose hook waits")
    row = autolog.status()[0]
    assert str(row.hooks) == "-"
    with autolog.enabled("sklearn", "zenml"):
        rows = {row.name: row.hooks for row in autolog.status()}
        assert rows["sklearn"].put_in > 0
        assert rows["sklearn"].missing == ()
        of_zenml = len(importlib.import_module("autolog.zenml").HOOKS)
        assert (rows["zenml"].put_in + rows["zenml"].waiting, rows["zenml"].missing) == (of_zenml, ())
        assert f"{rows['sklearn'].put_in} in" in str(autolog.status())
