"""What other trackers call things: whoever writes their word is told ours."""

from __future__ import annotations

__all__ = ["of_run", "of_settings", "of_the_module"]

_MODULE = {
    "autolog": "autolog.enable()",
    "init": "autolog.enable() to record trainings, or `with autolog.run(name) as run:` for a run of your own",
    "start_run": "`with autolog.run(name) as run:`",
    "end_run": "the end of the `with autolog.run():` block, or run.finish()",
    "active_run": "autolog.current_run()",
    "get_run": "autolog.current_run()",
    "log": "autolog.current_run().log({...})",
    "log_metric": "autolog.current_run().log({name: value})",
    "log_metrics": "autolog.current_run().log({...})",
    "log_param": "autolog.current_run().params({name: value})",
    "log_params": "autolog.current_run().params({...})",
    "log_artifact": "autolog.current_run().artifact(path, name)",
    "set_tag": "autolog.current_run().tag(...)",
    "set_tags": "autolog.current_run().tag(...)",
    "set_experiment": "autolog.enable(project=name)",
    "set_tracking_uri": "autolog.enable(server_url=...), or TRACKIO_DIR for a folder",
    "config": "autolog.current_run().params({...})",
    "watch": "autolog.torch.watch(model, optimizer) or autolog.keras.watch(model)",
}
_RUN = {
    "log_metric": "run.log({name: value})",
    "log_metrics": "run.log({...})",
    "log_param": "run.params({name: value})",
    "log_params": "run.params({...})",
    "log_hyperparams": "run.params({...})",
    "set_tag": "run.tag(...)",
    "set_tags": "run.tag(...)",
    "add_tags": "run.tag(...)",
    "summary": "run.params({name: value}, prefix='') for a value of the whole run",
    "log_figure": "run.figure(key, figure)",
    "log_image": "run.log({key: trackio.Image(...)})",
    "log_table": "run.table(key, rows)",
    "log_model": "run.artifact(path, name)",
    "watch": "autolog.torch.watch(model, optimizer) or autolog.keras.watch(model)",
    "end": "run.finish()",
    "stop": "run.finish()",
}
_SETTINGS = {
    "experiment": "project",
    "experiment_name": "project",
    "project_name": "project",
    "name": "run_name",
    "entity": "space_id",
    "workspace": "space_id",
    "tracking_uri": "server_url",
    "log_model": "log_models",
    "log_datasets": "log_data",
    "silent": "quiet",
    "verbose": "quiet",
    "notes": "tags",
}


def of_the_module(name: str) -> str:
    """What is said of a name that the package does not have."""
    return _said(f"module 'autolog' has no attribute {name!r}", _MODULE.get(name))


def of_run(name: str) -> str:
    """What is said of a name that a run does not have."""
    return _said(f"a run of autolog's has no attribute {name!r}", _RUN.get(name))


def of_settings(name: str) -> str | None:
    """What the setting is called here; None: nothing like it is known."""
    return _SETTINGS.get(name)


def _said(what: str, instead: str | None) -> str:
    return f"{what}. Write {instead}." if instead else what
