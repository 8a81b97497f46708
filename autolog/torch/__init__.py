"""PyTorch: a training loop of your own, watched at the steps of its optimizer.

>>> import autolog
>>> with autolog.torch.watch(model, optimizer) as watch:  # a run
...     for x, y in loader:
...         optimizer.zero_grad()
...         loss = loss_function(model(x), y)
...         loss.backward()
...         optimizer.step()
...         watch.log({"train/loss": loss})  # at the step that was just made

Without ``with``: ``watch = autolog.torch.watch(model, optimizer)``, and after the loop
``autolog.torch.unwatch(model)``. A loop is never found by itself: ``autolog.enable()`` does nothing for it.
Several models, or optimizers, that are trained together are one run: ``watch([generator, critic])``.

Recorded every ``log_every_n_steps`` steps: ``vitals/grad_norm`` and ``vitals/grad_norm/<module>``,
``vitals/lr``, ``vitals/step_seconds``; if wanted ``vitals/param_norm`` and histograms. At the end the
weights, and a list of the checkpoints that ``torch.save`` has written. Evaluations between ``model.eval()``
and ``model.train()``, if what is logged tells which data they are of (``validation.py``);
``watch.evaluate(y, scores)`` says it, and ``watch.step()`` says a step that no optimizer tells of.

An optimizer tells of its steps by hooks that torch offers (``watched.py``). Of clipping, which comes before
them, and of saving torch tells nobody: two functions of torch are hooked while something is watched
(``clipping.py``, ``kept.py``).
"""

from __future__ import annotations

from autolog.torch.loop import Watch, unwatch, watch

__all__ = ["Watch", "unwatch", "watch"]


def __dir__() -> list[str]:
    return __all__  # for tab completion: what a user calls
