"""Which run a Trainer's training belongs to: resumed, of several processes, beside other trackers."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import optuna
import pytest
from transformers import Trainer, TrainerCallback

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from tests.programs import ACCELERATE, TORCHRUN, hub, read, run, run_warm, torchrun, values
from tests.transformers.models import arguments, classifier, train_set, trainer, val_set

HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}


# Its place --------------------------------------------------------------------------------------------

SAID = {"project": "of-the-arguments", "run_name": "baseline", "trackio_space_id": "somebody/space"}


def test_arguments_name_the_place_where_settings_say_nothing(recording: MemorySink) -> None:
    trainer(**SAID).train()
    opened = recording.records[0]
    assert (opened["project"], opened["name"]) == ("of-the-arguments", "baseline")
    assert opened["to"] == ["space", "somebody/space"]


def test_settings_come_before_arguments(sink: MemorySink) -> None:
    ours = {"project": "ours", "run_name": "mine", "server_url": "http://127.0.0.1:1"}
    with autolog.enabled("transformers", sink=sink, log_code=False, **ours):
        trainer(**SAID).train()
    opened = sink.records[0]
    assert (opened["project"], opened["name"]) == ("ours", "mine")
    assert opened["to"] == ["server", "http://127.0.0.1:1"]


def test_what_stands_in_the_arguments_by_default_says_nothing(recording: MemorySink) -> None:
    trainer().train()
    opened = recording.records[0]
    assert opened["project"] != "huggingface"
    assert opened["to"][0] == "local"


def test_what_is_no_place_is_said_and_not_taken(recording: MemorySink) -> None:
    trainer(project="registry-mine", trackio_space_id="space-of-whom").train()
    (kept,) = recording.runs
    assert kept.status == "finished"
    notes = kept.config["autolog/notes"]
    assert "registries" in notes["params/project"]
    assert "'user/space'" in notes["params/trackio_space_id"]


def test_in_a_run_of_the_users_the_second_training_is_a_child_of_that_name(recording: MemorySink) -> None:
    with autolog.run("his"):
        trainer(run_name="first").train()
        trainer(run_name="second").train()
    his, child = recording.runs
    assert (his.name, child.name, child.parent) == ("his", "second", his.id)


# Resuming -----------------------------------------------------------------------------------------------

# torch imports tabulate when it ends, where that is installed. Python forgets then what has ended the
# program, with and without us.
RESUMED = """
    import tabulate
    from transformers import TrainerCallback
    from tests.transformers.models import trainer
    autolog.enable("transformers", log_code=False)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            if state.global_step == {stops_at}:
                raise KeyboardInterrupt

    given = {{"output_dir": {folder!r}, "save_strategy": "epoch", "num_train_epochs": 3, "logging_steps": 8}}
    trainer(callbacks=[Stop()], **given).train({how})
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["True", "{folder!r} + '/checkpoint-16'"])
def test_a_training_that_is_resumed_goes_on_in_its_run(tmp_path: Path, how: str) -> None:
    folder = str(tmp_path / "checkpoints")
    how = how.format(folder=folder)
    run_warm(tmp_path, RESUMED.format(folder=folder, stops_at=20, how=""), code=-2)
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "killed"
    run_warm(tmp_path, RESUMED.format(folder=folder, stops_at=0, how=f"resume_from_checkpoint={how}"))
    (kept,) = read(tmp_path)
    assert (kept["config"]["status"], kept["config"]["resumed"], kept["config"]["steps"]) == (
        "finished",
        1,
        24,
    )
    losses = [log["step"] for log in kept["logs"] if "train/loss" in log]
    assert losses == [8, 16, 24]
    run_warm(tmp_path, RESUMED.format(folder=folder, stops_at=0, how=""))
    assert len(read(tmp_path)) == 2


@pytest.mark.slow
def test_in_one_process_a_trainer_goes_on_only_if_it_is_told_to(tmp_path: Path) -> None:
    program = """
    from tests.transformers.models import trainer
    autolog.enable("transformers", log_code=False)
    training = trainer(save_strategy="epoch")
    training.train()
    training.args.num_train_epochs = 3
    training.train(resume_from_checkpoint=True)
    training.evaluate()
    training.train()
    """
    run_warm(tmp_path, program)
    first, second = sorted(read(tmp_path), key=lambda found: found["config"]["_Created"])
    assert (first["config"]["resumed"], first["config"]["steps"]) == (1, 24)
    assert len(values(first, "val/loss")) == 1
    assert "resumed" not in second["config"]


def test_a_disk_that_is_full_fails_the_training_and_claims_no_checkpoint(tmp_path: Path) -> None:
    program = """
    import resource, signal
    from transformers import TrainerCallback
    from tests.transformers.models import trainer
    autolog.enable("transformers", log_code=False)

    class Full(TrainerCallback):
        def on_epoch_end(self, args, state, control, **more):
            if state.epoch == 2:  # from now on no file grows beyond that
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, -1))

        def on_train_begin(self, args, state, control, **more):
            self.limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    full = Full()
    try:
        trainer(save_strategy="epoch", callbacks=[full]).train()
    except Exception as error:
        print("raised", type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, full.limit)
    """
    assert "raised" in run_warm(tmp_path, program)
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "failed"
    (table,) = values(kept, "checkpoints")
    assert [row["step"] for row in table["_value"]] == [8]
    assert "failed" in kept["alerts"][0]["title"]


# Several processes ----------------------------------------------------------------------------------------

SCRIPT = """
    import sys, autolog
    from transformers import TrainerCallback
    from tests.transformers.models import trainer, test_set

    autolog.enable("transformers", log_code=False, budget=1e9, gradient_modules=100)

    class Own(TrainerCallback):
        def on_epoch_end(self, args, state, control, **more):
            autolog.current_run().log({"own": 1.0})
            if "break" in sys.argv and args.process_index == 1:
                raise ValueError("of rank 1")

    several = trainer(callbacks=[Own()], ddp_backend="gloo", eval_strategy="epoch", save_strategy="epoch",
                      output_dir=sys.argv[1])
    several.train()
    several.predict(test_set)
    several.accelerator.end_training()  # else a process may leave the others while they still talk
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_are_one_run(tmp_path: Path, launcher: list[str]) -> None:
    code, said = torchrun(tmp_path, SCRIPT, str(tmp_path / "checkpoints"), launcher=launcher, **HERE)
    assert code == 0, said
    (kept,) = read(tmp_path)
    config = kept["config"]
    assert (config["status"], config["steps"]) == ("finished", 8)
    assert "autolog/faults" not in config
    assert len(values(kept, "own")) == len(values(kept, "train/loss")) == 2
    assert len(values(kept, "val/loss")) == 2
    assert len(values(kept, "test/loss")) == 1
    for row in kept["logs"]:
        if "vitals/grad_norm" in row:
            parts = [value for key, value in row.items() if key.startswith("vitals/grad_norm/")]
            assert sum(part**2 for part in parts) == pytest.approx(row["vitals/grad_norm"] ** 2, rel=1e-4)
    assert config["autolog/notes"]["val"].endswith("of rank 0's share, one of 2")
    for name, rows in (("val", 32), ("test", 64)):  # `predict` gathers those of all ranks
        (matrix,) = values(kept, f"{name}/confusion_matrix_counts")
        assert sum(n for row in matrix["_value"] for n in row.values() if isinstance(n, int)) == rows
    (table,) = values(kept, "checkpoints")
    assert [row["step"] for row in table["_value"]] == [4, 8]


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_run_as_well(tmp_path: Path) -> None:
    code, said = torchrun(tmp_path, SCRIPT, str(tmp_path / "checkpoints"), "break", **HERE)
    assert code
    assert "of rank 1" in said
    run(tmp_path, "assert autolog.finish()")  # if the launcher has ended rank 0 while it delivered
    (kept,) = read(tmp_path)
    # By an error of the others', or by the launcher.
    assert kept["config"]["status"] in ("failed", "killed"), said


# Beside other trackers ----------------------------------------------------------------------------------


def test_beside_transformers_own_callback_nothing_is_lost_or_told_twice(tmp_path: Path) -> None:
    program = """
    from tests.transformers.models import trainer
    autolog.enable("transformers", log_code=False, budget=1e9, gradient_modules=100)
    theirs = {"report_to": "trackio", "project": "p", "trackio_space_id": None}
    trainer(run_name="theirs", **theirs).train()
    with autolog.run("ours"):
        trainer(run_name="within", **theirs).train()
        assert autolog.current_run().status == "running"
    """
    run_warm(tmp_path, program)
    kept = {found["name"]: found for found in read(tmp_path)}
    adopted, ours = kept["theirs"], kept["ours"]
    assert len(values(adopted, "train/loss")) == len(values(adopted, "train/grad_norm")) == 4
    assert not values(adopted, "vitals/grad_norm")  # theirs has it under a name of its own
    assert len(values(adopted, "vitals/grad_norm/classifier")) == 4
    for key in ("vitals/fit_seconds", "train/loss_mean"):  # which theirs leaves out
        assert len(values(adopted, key)) == 1
    assert len(values(ours, "train/loss")) == len(values(ours, "vitals/grad_norm")) == 4
    assert ours["config"]["status"] == "finished"


THEIRS = """
    import json, os
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": folder}
    import mlflow, wandb
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tests.transformers.models import trainer

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", f"file://{folder}/artifacts"))
    os.environ["TENSORBOARD_LOGGING_DIR"] = f"{folder}/events"
    if is_recorded:
        autolog.enable("transformers", log_code=False, budget=1e9)
    report_to = ["tensorboard", "wandb", "mlflow"]
    here = {"output_dir": f"{folder}/out", "run_name": "theirs"}
    several = trainer(report_to=report_to, eval_strategy="epoch", **here)
    several.train()
    several.evaluate()

    def same(values):  # without what is another one each time
        other = ("runtime", "per_second", "timestamp", "_dir", folder)
        return {k: v for k, v in values.items() if not any(part in f"{k} {v}" for part in other)}

    mlflow.flush_async_logging()  # transformers leaves its metrics to MLflow's thread
    events = EventAccumulator(f"{folder}/events").Reload()
    tags = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    ran = mlflow.MlflowClient().search_runs(mlflow.get_experiment_by_name("e").experiment_id)
    summary = {k: v for k, v in dict(wandb.run.summary).items() if isinstance(v, float)}
    told = {
        "tensorboard": same(tags),
        "mlflow": sorted(str(sorted(same(r.data.metrics | r.data.params).items())) for r in ran),
        "mlflow's runs": sorted((r.info.status, r.info.run_name == "theirs") for r in ran),
        "wandb": {**same(summary), "name": wandb.run.name, "config": len(dict(wandb.run.config))},
        "listening": [type(callback).__name__ for callback in several.callback_handler.callbacks],
    }
    wandb.finish()
    print("told", json.dumps(told, sort_keys=True))
"""


@pytest.mark.long
def test_beside_wandb_mlflow_and_tensorboard_all_is_as_without_us(tmp_path: Path) -> None:
    for name in ("wandb", "mlflow", "tensorboard"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")
    told: list[str] = []
    for is_recorded in (False, True):
        folder = tmp_path / str(is_recorded)
        folder.mkdir()
        before = f"folder, is_recorded = {str(folder)!r}, {is_recorded}\n"
        said = run_warm(tmp_path, before + textwrap.dedent(THEIRS))
        told += [line for line in said.splitlines() if line.startswith("told ")]
    bare, recorded = told
    assert '"eval/loss"' in bare
    assert recorded == bare
    (ours,) = read(tmp_path)
    assert ours["config"]["status"] == "finished"
    assert len(values(ours, "train/loss")) == 4


@pytest.mark.long
def test_what_is_pushed_to_the_hub_is_what_would_be_without_us(tmp_path: Path) -> None:
    program = """
    from tests.transformers.models import trainer
    if is_recorded:
        autolog.enable("transformers", log_code=False)
    there = {"push_to_hub": True, "hub_model_id": "me/m", "hub_strategy": "all_checkpoints"}
    several = trainer(save_strategy="epoch", output_dir=folder, **there)
    several.train()
    several.push_to_hub()
    """
    commits: list[list[list[str]]] = []
    for is_recorded in (False, True):
        before = f"folder, is_recorded = {str(tmp_path / str(is_recorded) / 'out')!r}, {is_recorded}\n"
        with hub() as (there, pushed):
            run(tmp_path, before + textwrap.dedent(program), **HERE, **there)
        commits.append(sorted(pushed))
    bare, recorded = commits
    assert any("model.safetensors" in paths for paths in bare)
    assert recorded == bare
    (ours,) = read(tmp_path)
    assert ours["config"]["status"] == "finished"
    assert "hf_of_the_test" not in str(ours)


# A search for hyperparameters -------------------------------------------------------------------------


@pytest.mark.parametrize("by_callback", [False, True])
def test_a_search_by_optuna_is_a_study_with_its_trials_below(sink: MemorySink, by_callback: bool) -> None:
    def space(trial: Any) -> dict[str, float]:
        return {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)}

    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    if not by_callback:
        autolog.enable("transformers")
    searching = Trainer(
        args=arguments(eval_strategy="epoch", num_train_epochs=1),
        model_init=lambda: classifier(),
        train_dataset=train_set,
        eval_dataset=val_set,
        callbacks=[autolog.transformers.TrackioCallback()] if by_callback else None,
    )
    best = searching.hyperparameter_search(
        space, n_trials=3, direction="minimize", backend="optuna", sampler=optuna.samplers.RandomSampler(0)
    )
    optuna.create_study().optimize(lambda trial: 1.0, n_trials=1)  # none of transformers'
    autolog.finish()
    settings_module.use(None)
    study, *trials = sink.runs
    assert study.config["best/trial"] == int(best.run_id)
    assert study.values("objective/value/best")[-1] == pytest.approx(best.objective)
    assert [trial.parent for trial in trials] == [study.id] * 3
    assert [kept.status for kept in sink.runs] == ["finished"] * 4
    rates = [
        row["params/learning_rate"] for row in sorted(study.tables["trials"], key=lambda row: row["trial"])
    ]
    assert [trial.config["params/learning_rate"] for trial in trials] == pytest.approx(rates)
    for trial in trials:
        assert {"train/loss", "val/loss", "objective/value"} <= set(trial.metrics)
        assert "autolog/faults" not in trial.config


# A batch size that fits -----------------------------------------------------------------------------------


def _too_large(model: Any, after: int) -> Any:
    """As on a device whose memory does not suffice for 16 rows, from the call after these on."""
    calls = 0

    def look(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if len(kwargs["input_ids"]) > 13 and calls > after and module.training:
            raise RuntimeError("CUDA out of memory.")

    model.register_forward_pre_hook(look, with_kwargs=True)
    return model


def test_the_batch_size_is_the_one_that_was_used(recording: MemorySink) -> None:
    model = _too_large(classifier(), after=0)
    carrying = trainer(model, auto_find_batch_size=True, gradient_accumulation_steps=3)
    carrying.train()
    (kept,) = recording.runs
    assert "autolog/faults" not in kept.config
    assert kept.config["params/per_device_train_batch_size"] == 16
    used = carrying.state.train_batch_size
    assert used < 14
    told = {name: kept.config[f"batch_size/{name}"] for name in ("per_device", "effective", "attempts")}
    assert told == {"per_device": used, "effective": 3 * used, "attempts": [16, 14, used]}
    logged = [(one["step"], one["loss"]) for one in carrying.state.log_history if "loss" in one]
    assert [(step, row["train/loss"]) for step, row in kept.rows if "train/loss" in row] == logged


def test_what_an_aborted_attempt_has_logged_is_not_mixed_with_the_next_one(recording: MemorySink) -> None:
    model = _too_large(classifier(), after=6)

    class Own(TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            autolog.current_run().log({"own": state.global_step}, step=state.global_step)

    more = {"auto_find_batch_size": True, "logging_steps": 2, "eval_strategy": "epoch"}
    carrying = trainer(model, callbacks=[Own()], **more)
    carrying.train()
    told = carrying.evaluate()
    names = [found.name for found in recording.runs]
    aborted, whole = recording.runs
    assert [found.status for found in recording.runs] == ["finished", "finished"], names
    assert whole.parent == aborted.id
    assert [step for step, row in aborted.rows if "train/loss" in row] == [2, 4, 6]
    assert (
        f"up to step 6, is of that attempt. It was begun again, smaller, in {names[1]}"
        in (aborted.config["autolog/notes"]["train"])
    )
    logged = [(one["step"], one["loss"]) for one in carrying.state.log_history if "loss" in one]
    assert [(step, row["train/loss"]) for step, row in whole.rows if "train/loss" in row] == logged
    assert len(whole.values("own")) == 2
    assert whole.config["batch_size/per_device"] == carrying.state.train_batch_size
    assert (whole.config["trainer"], whole.config["steps"]) == ("Trainer", carrying.state.global_step)
    assert whole.values("val/loss")[-1] == pytest.approx(told["eval_loss"])
    assert "val/loss" not in aborted.metrics


def test_an_attempt_that_fails_after_another_was_aborted(recording: MemorySink) -> None:
    class Broken(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.train_batch_size < 14 and state.global_step == 3:
                raise ValueError("of the user's")

    model = _too_large(classifier(), after=6)
    with pytest.raises(ValueError, match="of the user's"):
        trainer(model, auto_find_batch_size=True, logging_steps=1, callbacks=[Broken()]).train()
    assert [found.status for found in recording.runs] == ["failed", "failed"]
