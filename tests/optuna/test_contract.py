"""What is hooked of Optuna, and what is used of it that is private."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import optuna
import pytest

from autolog.optuna import HOOKS
from autolog.optuna.figures import _volume
from tests.contract import Private, check_hooks, check_table, local, sets


def _study(**options: Any) -> Any:
    return optuna.create_study(**options)


def _journal() -> Any:
    """The kind of journal that is kept in a file; it has had two names."""
    storages: Any = optuna.storages
    journal = getattr(storages, "journal", storages)
    return getattr(journal, "JournalFileBackend", None) or storages.JournalFileStorage


def _redis() -> Any:
    found: Any = optuna.storages
    journal = getattr(found, "journal", found)
    return getattr(journal, "JournalRedisBackend", None) or found.JournalRedisStorage


def _proxy() -> Any:
    return importlib.import_module("optuna.storages._grpc.client").GrpcStorageProxy


PRIVATE = {
    "_storage": Private(lambda: _study()._storage is not None),
    "_study_id": Private(lambda: _study()._study_id == 0),
    "_thread_local": Private(lambda: _study()._thread_local.in_optimize_loop is False),
    "_directions": Private(lambda: _study()._directions == [optuna.study.StudyDirection.MINIMIZE]),
    "_get_trials": Private(lambda: _study()._get_trials(deepcopy=False) == []),
    "_backend": Private(lambda: _study(storage="sqlite://")._storage._backend.url == "sqlite://"),
    "JournalStorage._backend": Private(lambda: sets(optuna.storages.JournalStorage, "_backend")),
    "_file_path": Private(lambda: sets(_journal(), "_file_path")),
    "_url": Private(lambda: sets(_redis(), "_url")),
    "_host": Private(lambda: sets(_proxy(), "_host"), needs="optuna>=4.2"),
    "_port": Private(lambda: sets(_proxy(), "_port"), needs="optuna>=4.2"),
    "_hypervolume": Private(lambda: _volume(np.array([[0.0, 0.0]]), np.array([1.0, 1.0])) == 1.0),
    # A variable of it: the exception that a trial has failed by.
    "_run_trial: func_err": Private(
        lambda: local(importlib.import_module("optuna.study._optimize")._run_trial, "func_err")
    ),
}


def test_every_hook_finds_its_place() -> None:
    check_hooks(HOOKS)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("optuna", PRIVATE)
