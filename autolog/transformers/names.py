"""The Trainer's names of metrics, as every framework's runs call them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["canonical"]

_NAMES = {
    "loss": "train/loss",
    "learning_rate": "vitals/lr",
    "grad_norm": "vitals/grad_norm",
    "train_loss": "train/loss_mean",
    "train_runtime": "vitals/fit_seconds",
    "train_samples_per_second": "vitals/samples_per_second",
    "train_steps_per_second": "vitals/steps_per_second",
    "train_tokens_per_second": "vitals/tokens_per_second",
    "num_input_tokens_seen": "vitals/tokens_seen",
    "total_flos": "vitals/total_flos",
}
_STAGES = {"eval": "val", "test": "test"}
_EVALUATED = {"train": "train/eval"}  # beside what the training tells of itself
_SPEEDS = {"runtime": "seconds", "samples_per_second": "samples_per_second"}
_SPEEDS |= {"steps_per_second": "steps_per_second", "model_preparation_time": "preparation_seconds"}


def canonical(name: str, sets: Iterable[str] = (), prefix: str | None = None) -> str:
    """``loss`` is ``train/loss``, ``eval_f1`` is ``val/f1``, of the evaluation set ``hard`` ``val/hard/f1``.

    A name that is like none of ours stays as it is.

    Args:
        name: as the Trainer logs it.
        sets: names of its evaluation sets, where it has several.
        prefix: what the user has this evaluation call its metrics by (``metric_key_prefix``). Those of
            ``train`` are ``train/eval/loss`` and so on: ``train/loss`` is that of the training's steps.
    """
    is_of_prefix = prefix is not None and name.startswith(f"{prefix}_")
    if name in _NAMES and not is_of_prefix:
        return _NAMES[name]
    stages = _STAGES
    if prefix is not None:
        stages = {**_STAGES, prefix: _STAGES.get(prefix) or _EVALUATED.get(prefix, prefix)}
    stem = next((stem for stem in sorted(stages, key=len, reverse=True) if name.startswith(f"{stem}_")), None)
    if stem is None or name == f"{stem}_":
        return name
    stage, rest = stages[stem], name.removeprefix(f"{stem}_")
    # The longest first: one may begin like another.
    of_set = next((one for one in sorted(sets, key=len, reverse=True) if rest.startswith(f"{one}_")), None)
    if of_set is not None:
        stage, rest = f"{stage}/{of_set}", rest.removeprefix(f"{of_set}_")
    return f"vitals/{stage}_{_SPEEDS[rest]}" if rest in _SPEEDS else f"{stage}/{rest}"
