"""A model that was kept, as an object again: by the kind of file it was kept in."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autolog.review.recorded import Artifact, RecordedRun

__all__ = ["candidates", "load", "one_line"]


def candidates(run: RecordedRun) -> list[Artifact]:
    """What of a run's artifacts can be loaded: its model first, then checkpoints, the best first."""
    made = [artifact for artifact in run.artifacts if not artifact.is_input and _loader(artifact)]
    order = {"model": 0, "checkpoint": 1}
    made = [artifact for artifact in made if artifact.type in order]
    return sorted(made, key=lambda a: (order[a.type], "best" not in a.aliases, -a.version))


def load(run: RecordedRun, name: str | None = None) -> Any:
    """Load a run's model.

    A pickle (scikit-learn) comes back as the estimator; a ``.keras`` file as the model; a folder of
    transformers' as the model of the class that it names; weights alone (Lightning, torch) as a mapping of
    names to tensors, for ``load_state_dict``; XGBoost's, LightGBM's and CatBoost's own files as their models.

    Raises:
        LookupError: there is none, or there are several; the text names what there is.
        ImportError: what it takes to load it is not installed.
    """
    found = candidates(run)
    if name is not None:
        named = [artifact for artifact in found if artifact.name == name]
        if not named:
            raise LookupError(f"{run.name} has kept no {name!r}, but {_names(found)}.")
        return _loaded(named[0])
    if not found:
        if run.waiting:
            raise LookupError(f"{run.name} has not all arrived yet: wait a little, or call `autolog sync`.")
        removed = next((note for key, note in run.notes.items() if key.startswith("artifact/")), None)
        why = removed or run.notes.get("model") or run.notes.get("storage") or "no model was kept"
        raise LookupError(f"{run.name} has no model to load: {why}.")
    models = [artifact for artifact in found if artifact.type == "model"]
    if len({artifact.name for artifact in models}) > 1:
        raise LookupError(f"{run.name} has kept several models: name one of {_names(models)}.")
    return _loaded(found[0])


def one_line(run: RecordedRun) -> str | None:
    """The line by which its model is loaded; None: it has none."""
    found = candidates(run)
    if not found:
        return None
    several = len({a.name for a in found if a.type == found[0].type}) > 1
    asked = repr(found[0].name) if several else ""
    return f"autolog.runs({run.project!r}).get({run.id[:8]!r}).load_model({asked})"


def _names(artifacts: list[Artifact]) -> str:
    return ", ".join(sorted({artifact.name for artifact in artifacts})) or "nothing that can be loaded"


def _loaded(artifact: Artifact) -> Any:
    loader = _loader(artifact)
    assert loader is not None
    with tempfile.TemporaryDirectory(prefix="autolog-") as folder:
        copies = artifact.copy(Path(folder))  # under their own names: what loads them looks at these
        return loader(Path(folder), copies)


def _loader(artifact: Artifact) -> Callable[[Path, list[Path]], Any] | None:
    """What loads this artifact, by the names of its files."""
    names = set(artifact.files)
    if "adapter_config.json" in names:
        return _peft
    if "config.json" in names and any(name.endswith((".safetensors", ".bin")) for name in names):
        return _transformers
    for ending, loader in _BY_ENDING.items():
        if any(name.endswith(ending) for name in names):
            return lambda folder, copies, end=ending, by=loader: by(  # type: ignore[misc]
                next(path for path in copies if path.name.endswith(end))
            )
    return None


def _pickled(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def _keras(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path)


def _torch(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _checkpoint(path: Path) -> Any:
    """Of Lightning's: weights and all that it goes on with."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)


def _numpy(path: Path) -> Any:
    import numpy

    with numpy.load(path) as arrays:
        return dict(arrays)


def _xgboost(path: Path) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(path)
    return booster


def _lightgbm(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=path)


def _catboost(path: Path) -> Any:
    import catboost

    return catboost.CatBoost().load_model(str(path))


def _transformers(folder: Path, _: list[Path]) -> Any:
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
    return kind.from_pretrained(folder)


def _peft(folder: Path, _: list[Path]) -> Any:
    import peft

    config = peft.PeftConfig.from_pretrained(folder)
    raise LookupError(
        f"an adapter alone was kept, of {config.base_model_name_or_path}: copy it with `run.files(folder)`, "
        "and write peft.PeftModel.from_pretrained(base_model, folder)."
    )


_BY_ENDING: dict[str, Callable[[Path], Any]] = {
    ".pkl": _pickled,
    ".joblib": _pickled,
    ".keras": _keras,
    ".ckpt": _checkpoint,
    ".pt": _torch,
    ".npz": _numpy,
    ".ubj": _xgboost,
    "model.txt": _lightgbm,
    ".cbm": _catboost,
}
