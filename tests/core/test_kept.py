"""A model in its library's own format: what is said where there is no file of it."""

from __future__ import annotations

from pathlib import Path

import autolog
from autolog.core import settings as settings_module
from autolog.core.kept import NativeFile, keep_model, staged
from autolog.sinks.memory import MemorySink


def test_a_model_that_cannot_be_written_is_said_to_be_missing(sink: MemorySink) -> None:
    def half_of_it(path: Path) -> None:
        path.write_text("half of")
        raise OSError("no space is left")

    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    with autolog.run() as run:
        recording = run._recording
        assert staged(recording, NativeFile("model.x", half_of_it), 100, "model/native", "") is None
        assert not Path(recording.stage("model.x")).exists()
        keep_model(recording, "Model", NativeFile("model.x", half_of_it))
    [recorded] = sink.runs
    notes = recorded.config["autolog/notes"]
    assert notes["model"] == notes["model/native"] == "lost: not kept: OSError: no space is left"
    assert recorded.artifacts == []
