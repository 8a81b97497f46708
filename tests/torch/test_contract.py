"""What is hooked of torch, and what is used of it that is private."""

from __future__ import annotations

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import _common_utils as fsdp
from torch.utils._python_dispatch import _get_current_dispatch_mode

from autolog.torch import clipping, kept, validation
from autolog.torch.heard import _FUNCTIONS
from autolog.torch.measures import WRAPPERS
from tests.contract import Private, check_hooks, check_table


def _is_between(wrapped: torch.nn.Module, name: str) -> bool:
    return name in [part for key, _ in wrapped.named_modules() for part in key.split(".")]


PRIVATE = {
    "_orig_mod": Private(lambda: _is_between(torch.compile(torch.nn.Linear(1, 1)), "_orig_mod")),
    "_checkpoint_wrapped_module": Private(
        lambda: hasattr(checkpoint_wrapper(torch.nn.Linear(1, 1)), "_checkpoint_wrapped_module")
    ),
    "_C": Private(lambda: torch._C is not None),
    "_nn": Private(lambda: all(hasattr(module, name) for module, name, _ in _FUNCTIONS)),
    "_builtins": Private(lambda: torch.jit._builtins is not None),
    "_find_builtin": Private(
        lambda: torch.jit._builtins._find_builtin(torch._C._nn.mse_loss) == "aten::mse_loss"
    ),
    "_register_builtin": Private(lambda: callable(torch.jit._builtins._register_builtin)),
    "_disabled_torch_dispatch_impl": Private(
        lambda: torch.Tensor.__torch_dispatch__ is torch._C._disabled_torch_dispatch_impl
    ),
    "_are_functorch_transforms_active": Private(
        lambda: torch.vmap(lambda x: x + torch._C._are_functorch_transforms_active())(torch.zeros(2)).all()
    ),
    "_get_current_dispatch_mode": Private(lambda: _get_current_dispatch_mode() is None),
    "_fsdp_wrapped_module": Private(lambda: fsdp.FSDP_WRAPPED_MODULE == "_fsdp_wrapped_module"),
}


def test_every_hook_finds_its_place() -> None:
    check_hooks([*clipping.HOOKS, *kept.HOOKS, *validation.HOOKS])


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("torch", PRIVATE)
    assert set(WRAPPERS) <= set(PRIVATE)
