"""What LightningCLI has made the training from: files, arguments and defaults, resolved."""

from __future__ import annotations

from typing import Any

from autolog.capture.params import sanitize
from autolog.core.recording import Recording

__all__ = ["record_cli"]


def record_cli(run: Recording, trainer: Any) -> None:
    """The whole configuration, into the run's config and as the file that ``--config`` takes.

    LightningCLI gives it to a callback of its own, which writes it beside the logs. Without that one
    (``save_config_callback=None``) it is not known; the arguments of the command line are.
    """
    saving = next((callback for callback in trainer.callbacks if _saves_a_config(callback)), None)
    if saving is None:
        return
    import yaml

    config = saving.config.as_dict()
    run.params(config, prefix="cli")
    if run.records:
        path = run.stage("config.yaml")
        whole = sanitize(config, limit=100_000, depth=20, items=10_000)  # without secrets
        path.write_text(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), encoding="utf-8")
        run.staged_artifact("lightning-config", "config", {"config.yaml": path})


def _saves_a_config(callback: Any) -> bool:
    return any(base.__name__ == "SaveConfigCallback" for base in type(callback).__mro__)
