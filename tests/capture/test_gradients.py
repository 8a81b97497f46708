"""Norms and samples of torch tensors of every kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autolog.capture.gradients import norms, samples

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]


def naive(tensor: Any) -> float:
    return float(tensor.to_dense().to(torch.complex128).abs().square().sum().sqrt())


def made(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128 if dtype.is_complex else torch.float64).to(dtype)


shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
tensors = st.builds(made, shapes, st.sampled_from(KINDS))


@given(st.lists(st.lists(tensors, max_size=4), max_size=4))
def test_norms_are_those_of_a_naive_computation(groups: list[list[torch.Tensor]]) -> None:
    whole, parts = norms(groups)
    expected = [math.sqrt(math.fsum(naive(tensor) ** 2 for tensor in group)) for group in groups]
    assert parts == pytest.approx(expected, rel=1e-5)
    assert whole == pytest.approx(math.hypot(*expected), rel=1e-5)


def test_half_precision_does_not_overflow() -> None:
    assert norms([[torch.full((1000,), 6e4, dtype=torch.float16)]])[0] == pytest.approx(
        6e4 * 1000**0.5, rel=1e-3
    )


def test_double_precision_is_kept() -> None:
    whole, parts = norms([[torch.full((4,), 1e150, dtype=torch.float64)], [torch.ones(4)]])
    assert whole == pytest.approx(2e150, rel=1e-15)
    assert parts[1] == 2


def test_sparse_gradients_are_summed_up_first() -> None:
    twice = torch.sparse_coo_tensor([[1, 1]], [[3.0, 0.0], [0.0, 4.0]], (5, 2), check_invariants=True)
    assert not twice.is_coalesced()
    rows = torch.eye(4).to_sparse_csr()
    assert norms([[twice], [rows]]) == (pytest.approx(29**0.5), pytest.approx([5, 2]))
    assert not twice.is_coalesced(), "the user's gradient stays as it is"


def test_what_has_no_values_counts_as_zero() -> None:
    assert norms([]) == (0, [])
    assert norms([[], [torch.empty(0, 3)]]) == (0, [0, 0])
    assert norms([[torch.empty(3, device="meta")], [torch.ones(4)]]) == (2, [0, 2])


def test_views_of_the_conjugate_are_read() -> None:
    assert norms([[torch.tensor([3 + 4j]).conj()]])[0] == 5


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_said_so(wrong: float) -> None:
    whole, parts = norms([[torch.tensor([1.0, wrong])], [torch.ones(4)]])
    assert not math.isfinite(whole)
    assert not math.isfinite(parts[0])
    assert parts[1] == 2


def test_there_is_one_transfer_to_the_host() -> None:
    groups = [[torch.ones(3), torch.ones(3).half()], [torch.ones(2).bfloat16(), torch.ones(1)]]
    with torch.profiler.profile() as profile:
        norms(groups)
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls["aten::_foreach_norm"] == 3
    assert "aten::_local_scalar_dense" not in calls


def test_samples_are_spaced_evenly_and_few() -> None:
    groups = [[torch.arange(50.0), torch.arange(50.0, 100)], [torch.tensor(7.0).half()], []]
    many, one, none = samples(groups, 10)
    assert many.tolist() == [0, 11, 22, 33, 44, 50, 61, 72, 83, 94]
    assert (one.tolist(), none.tolist()) == ([7], [])
    assert many.dtype == np.float32
    assert samples([], 10) == []
    assert samples([[torch.arange(19.0)]], 10)[0].tolist() == [0, 3, 6, 9, 12, 15, 18]
    (column,) = {len({int(value) % 100 for value in part}) for part in samples([[torch.arange(1e4)]], 100)}
    assert column > 90, "not of one column of a weight"
    assert all(len(sample) <= 7 for sample in samples([[torch.ones(n) for n in range(9)]], 7))
