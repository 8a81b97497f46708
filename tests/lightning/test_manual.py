"""Lightning modules that optimize by hand: gradient norms are those before they clip."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_  # as scripts do, before anything is recorded

import autolog
from autolog import MemorySink
from autolog.process import hooks
from tests.lightning.modules import Digits, loader, only, trainer


class ByHand(Digits):
    """Two optimizers, one for each layer; both clip, as Lightning offers it or as torch does."""

    def __init__(self, clips_by: str = "lightning", skips: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.clips_by, self.skips = clips_by, skips
        self.norms: list[list[float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizers = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))
        layers = (self.net[0], self.net[2])
        norms = [math.hypot(*(float(p.grad.norm()) for p in layer.parameters())) for layer in layers]
        if self.clips_by == "torch":
            clip_grad_norm_(self.parameters(), 1e-3)
        for optimizer in optimizers:
            if self.clips_by == "lightning":
                self.clip_gradients(optimizer, 1e-3, "norm")
            if not (self.skips and batch_idx == 1):
                optimizer.step()
        if not (self.skips and batch_idx == 1):
            self.norms.append(norms)

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[place].parameters(), 0.1) for place in (0, 2)]


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("clips_by", ["lightning", "torch", "nobody"])
def test_norms_are_those_before_it_clips(sink: MemorySink, clips_by: str, skips: bool) -> None:
    module = ByHand(clips_by, skips)
    with autolog.enabled("lightning", sink=sink, log_code=False, budget=1e9):
        trainer(max_epochs=1, log_every_n_steps=1).fit(module, loader())
        assert not any("clip_grad" in place for place in hooks.installed())
    run = only(sink)
    found = list(zip(run.values("vitals/grad_norm/SGD-0"), run.values("vitals/grad_norm/SGD-1"), strict=True))
    assert found == [pytest.approx(norms, rel=1e-4) for norms in module.norms]
    assert [run.metrics[f"vitals/grad_norm/net.{place}.Linear"] for place in (0, 2)] == pytest.approx(
        module.norms[-1], rel=1e-4
    )
