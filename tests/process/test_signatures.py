"""What a function takes, whatever stands in its annotations."""

from __future__ import annotations

import sys

import pytest

from autolog.process.signatures import signature_of

USERS = """
class Model:
    def fit(self, X: Table, y: Table = None, *, verbose: int = 0) -> Model: ...
"""


def fit(self, X, y=None, *, verbose=0):  # type: ignore[no-untyped-def]
    """What a user wrote, without its annotations."""


def test_what_a_function_takes() -> None:
    assert str(signature_of(fit)) == "(self, X, y=None, *, verbose=0)"
    with pytest.raises(TypeError):
        signature_of(3)  # type: ignore[arg-type]


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="Python 3.14 is missing: no earlier one defers annotations"
)
def test_an_annotation_that_names_what_is_imported_for_types_only_is_no_error() -> None:
    names: dict[str, type] = {}
    exec(compile(USERS, "users.py", "exec", dont_inherit=True), names)
    assert list(signature_of(names["Model"].fit).parameters) == ["self", "X", "y", "verbose"]  # type: ignore[attr-defined]
