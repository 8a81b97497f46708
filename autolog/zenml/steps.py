"""A step that is running: where its run stands, what it is called, how it ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit
from uuid import UUID

from autolog.core import adopting, around
from autolog.core import settings as settings_module
from autolog.core.catalogue import is_on
from autolog.core.current import LazyRun, enter, innermost
from autolog.core.opening import open_run, silent_run
from autolog.core.recording import Recording
from autolog.core.settings import Settings
from autolog.core.standing import stand_in
from autolog.core.statuses import status_of
from autolog.core.writer import RunError
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome
from autolog.sinks.trackio.names import fitting_project
from autolog.zenml.run import StepRun

__all__ = [
    "Step",
    "enter_step",
    "find",
    "get_trackio_run",
    "observe_cached",
    "observe_step",
    "running",
    "step_around",
    "unrecorded",
]

RUNS_IN_URL = 100  # of one pipeline run; a browser takes no URL of any length
INPUTS_TOLD = 20  # of one input, which may be a list of artifacts
OURS = ("status", "tags", "parent", "children", "error", "zenml/", "autolog/")  # in the config


# One attempt of a step --------------------------------------------------------------------------------


class Step:
    """One attempt of a step, while it is running.

    Attributes:
        id: of ZenML's step run.
        run: its run, once there is one.
        is_ours: whether a tracker of ours tracks it.
        is_watched: whether its very end is seen, after its outputs are stored.
    """

    def __init__(self, pipeline_run: Any, step_run: Any, *, sees_its_beginning: bool):
        self._pipeline_run, self._step_run = pipeline_run, step_run
        self.id: UUID = step_run.id
        self.pipeline_run_id: UUID = pipeline_run.id
        self.pipeline_run: str = pipeline_run.name
        self.pipeline: str = pipeline_run.config.name
        self.name: str = step_run.name
        self.attempt: int = getattr(step_run, "version", 1)
        self.parameters: Mapping[str, Any] = step_run.config.parameters or {}
        self.has_a_tracker = bool(step_run.config.experiment_tracker)
        self.run: Recording | None = None
        self.is_ours = self.is_watched = False
        self._adopted: Recording | None = None
        self.is_published = False
        self._outside = adopting.trackio_run() if sees_its_beginning else None
        self._exits: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def taken(self) -> Recording | None:
        """Its run: something is about to be recorded in it."""
        if self.run is not None or not is_on("zenml"):
            return self.run
        with self._lock:
            inside = adopting.trackio_run()
            if inside is not None and inside is not self._outside:  # ZenML's own tracker, or the step itself
                self._adopted = adopting.adopted_run()
            if self.run is None and self._adopted is None:
                self.open()
        return self.run or self._adopted

    def open(
        self,
        settings: Settings | None = None,
        *,
        project: str | None = None,
        run_name: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Recording:
        """Open its run.

        Args:
            settings: with the place that it goes to. None: those in force.
            project: None: that of the settings, else the pipeline's name.
            run_name: None: made of pipeline, run and step.
            tags: words to find it by; pipeline, run and step are among them always.
            metadata: for the top level of its config, at once.
        """
        settings = settings or settings_module.current()
        metadata = dict(metadata or {})
        beside = {key: metadata.pop(key) for key in list(metadata) if str(key).startswith(OURS)}
        self.run = open_run(
            run_name if run_name and self.attempt == 1 else self._run_name(run_name),
            project=project or settings.project or fitting_project(self.pipeline),
            group=self.pipeline_run,
            framework="zenml",
            tags=[*tags, self.pipeline, self.pipeline_run, self.name],
            config={
                "framework": "zenml",
                "zenml/pipeline": self.pipeline,
                "zenml/pipeline_run": self.pipeline_run,
                "zenml/step": self.name,
                "zenml/attempt": self.attempt,
                **metadata,
                **({"metadata": beside} if beside else {}),
            },
            settings=settings,
            face=StepRun,
        )
        if self.parameters:
            self.run.params(self.parameters, prefix="zenml/parameters")
        with shield("ZenML: what a step is linked with"):
            self.run.describe(self._links())
        return self.run

    def _links(self) -> dict[str, Any]:
        """What leads from its run to what ZenML has of it."""
        links: dict[str, Any] = {
            "zenml/pipeline_run_id": str(self.pipeline_run_id),
            "zenml/step_run_id": str(self.id),
        }
        stack = getattr(self._pipeline_run, "stack", None)
        if stack is not None:
            links["zenml/stack"] = stack.name
        given: dict[str, list[Any]] = {}
        for name, artifacts in getattr(self._step_run, "inputs", {}).items():
            given[name] = artifacts if isinstance(artifacts, list) else [artifacts]  # older ZenML: one
        if given:
            links["zenml/inputs"] = {
                name: [_of_artifact(one) for one in artifacts[:INPUTS_TOLD]]
                for name, artifacts in given.items()
            }
            for name, artifacts in given.items():
                named = [f"{one.name}:{one.version}" for one in artifacts[:INPUTS_TOLD]]
                links[f"zenml/input/{name}"] = ", ".join(named)
        url = _dashboard_url(self._pipeline_run)
        if url:
            links["zenml/url"] = url
        return links

    def enter(self) -> None:
        """Its run is the current one from here on, in threads that the step starts too; Trackio's as well."""
        if self.run is None or self._exits:
            return
        self._exits.append(enter_step(self.run))

    def _run_name(self, given: str | None) -> str:
        named = self.pipeline_run
        if self.pipeline not in named:
            named = f"{self.pipeline}_{named}"
        named = given or f"{named}_{self.name}"
        return named if self.attempt == 1 else f"{named}_attempt_{self.attempt}"

    def end(self, error: BaseException | None) -> None:
        """It has returned, or failed: so has its run, whatever the step itself did to it."""
        _running.pop(self.id, None)
        while self._exits:
            self._exits.pop()()
        if self.run is None:
            self.publish()
            return
        if error is not None:
            self.run.note_error(error)
        self.publish()
        if error is not None or not self.run.is_closed:
            ended_as = self.run.status if error is None and self.run.status != "running" else status_of(error)
            self.run.close(ended_as)

    # What ZenML shows of it -------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        """What ZenML shows beside the step: the URL that opens its run, and names."""
        run = self.run or self._adopted
        if run is None or not run.records:
            return {}
        values: dict[str, Any] = {
            "trackio_run_id": run.id,
            "trackio_run_name": run.name,
            "trackio_project": run.project,
        }
        if run.group:
            values["trackio_group"] = run.group
        if run.url is not None:
            from zenml.metadata.metadata_types import Uri

            values["trackio_run_url"] = Uri(run.url)
            if self.is_ours or not self.has_a_tracker:  # of another one it is that one's
                values["experiment_tracker_url"] = Uri(run.url)
        return values

    def publish(self, component: UUID | None = None) -> None:
        """Attach the URL to the step and to the pipeline run, while they are running."""
        values = self.metadata()
        if values and not self.is_published:
            self.is_published = "trackio_run_url" in values  # else once more: nobody knew whose Space it is
            _attach("STEP_RUN", self.id, values, component)
            if "experiment_tracker_url" in values:
                _attach_to_pipeline_run(self.pipeline_run_id, values["experiment_tracker_url"], component)


def enter_step(run: Recording) -> Callable[[], None]:
    """Make it the current run, for Trackio's own functions too; returns how to leave."""
    leave = enter(run)
    give_back = stand_in(run)

    def undo() -> None:
        give_back()
        leave()

    return undo


def unrecorded(name: str) -> Recording:
    """A run that records nothing: where ours could not be opened, what the step asks of it must not fail."""
    return silent_run(name, settings=Settings(), face=StepRun)


# Which step is running here ----------------------------------------------------------------------------

_running: dict[UUID, Step] = {}


def observe_step(call: Call) -> Generator[None, Outcome, None]:
    """One attempt of a step, from before its inputs are loaded until its outputs are stored."""
    step = Step(call.get("pipeline_run"), call.get("step_run"), sees_its_beginning=True)
    step.is_watched = True
    _running[step.id] = step
    leave = enter(LazyRun(step.taken))
    outcome = Outcome()
    try:
        outcome = yield
    finally:
        leave()
        with shield("ZenML: a step's end"):
            step.end(outcome.error)


def observe_cached(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """A step is not run, since it was before: the URL of the pipeline run opens its run as well."""
    with shield("ZenML: the URL of a cached step"):
        known = result.run_metadata
        url = known.get("experiment_tracker_url")
        if url is not None and str(url) == str(known.get("trackio_run_url")):  # of ours
            _attach_to_pipeline_run(result.pipeline_run_id, str(url))


def running(info: Any) -> Step:
    """The step that ZenML tells a tracker of."""
    step = _running.get(info.step_run_id)
    if step is None:
        pipeline_run = _PipelineRun(info.run_id, info.run_name, info.pipeline)
        step_run = info.step_run if hasattr(info, "step_run") else _client().get_run_step(info.step_run_id)
        step = _running[info.step_run_id] = Step(pipeline_run, step_run, sees_its_beginning=True)
    return step


def find(info: Any) -> Step | None:
    """The step that ZenML tells a tracker of, if it is running."""
    return _running.get(info.step_run_id)


def step_around() -> Recording | None:
    """The run of the step that this context is in, if it began before anybody watched.

    ``autolog.enable()`` in a step comes too late for the hook around it; ZenML's context knows the step.
    """
    if not is_on("zenml"):
        return None
    with shield("ZenML: the step around"):
        context = _context()
        if context is None:
            return None
        step = _running.get(context.step_run.id)
        if step is None:
            step = Step(context.pipeline_run, context.step_run, sees_its_beginning=False)
            _running[step.id] = step
            # Called when the context is left, with the step's exception on its way.
            context._cleanup_registry.register_callback(_end_unwatched, step)
        return step.taken()
    return None


around.look_around(step_around)


def get_trackio_run() -> Any:
    """The run of the step that is running: ours, or the ``trackio.Run`` of ZenML's own ``trackio`` flavor.

    Raises:
        RunError: no step is running here, or none that Trackio tracks.
    """
    context = _context()
    step = _running.get(context.step_run.id) if context is not None else None
    run = step.taken() if step is not None else innermost()
    while run is not None and not isinstance(
        run.face, StepRun
    ):  # a thread of the step's knows its runs alone
        run = run.parent
    if run is not None:
        return run.face
    run = adopting.trackio_run()
    if run is not None and context is not None:
        return run
    if context is None:
        raise RunError("get_trackio_run: no step is running here. Call it inside of a step's function.")
    raise RunError(
        f"get_trackio_run: the step {context.step_run.name!r} has no Trackio run. Name a tracker of the "
        'flavor "trackio-autolog" in @step(experiment_tracker="..."), or call autolog.enable().'
    )


def _context() -> Any:
    """ZenML's context of the step that is running here, without importing ZenML to find out."""
    module = sys.modules.get("zenml.steps.step_context")
    if module is None:
        return None
    context = module.StepContext
    if hasattr(context, "get"):
        return context.get()
    return context() if context._exists() else None  # older ZenML: one per process


def _end_unwatched(step: Step) -> None:
    with shield("ZenML: a step's end"):
        step.end(sys.exc_info()[1])


class _PipelineRun:
    """What a :class:`Step` asks of a pipeline run."""

    def __init__(self, run_id: UUID, name: str, config: Any):
        self.id, self.name, self.config = run_id, name, config


def _of_artifact(artifact: Any) -> dict[str, str]:
    """A version of one of ZenML's artifacts, as it is found again."""
    return {
        "artifact": artifact.name,
        "version": str(artifact.version),
        "id": str(artifact.id),
        "uri": str(artifact.uri),
    }


def _dashboard_url(pipeline_run: Any) -> str | None:
    """Where ZenML's dashboard shows the pipeline run; None: there is no server."""
    if isinstance(pipeline_run, _PipelineRun):
        return None
    from zenml.utils.dashboard_utils import get_run_url

    url: str | None = get_run_url(pipeline_run)
    return url


# Small things ------------------------------------------------------------------------------------------


def _client() -> Any:
    from zenml.client import Client

    return Client()


def _attach(kind: str, of: UUID, values: Mapping[str, Any], component: UUID | None) -> None:
    from zenml.enums import MetadataResourceTypes
    from zenml.models import RunMetadataResource

    _client().create_run_metadata(
        metadata=dict(values),
        resources=[RunMetadataResource(id=of, type=MetadataResourceTypes[kind])],
        stack_component_id=component,
        # A cached step keeps what its original has published itself, and nothing else.
        publisher_step_id=of if kind == "STEP_RUN" else None,
    )


_attaching = threading.Lock()


def _attach_to_pipeline_run(pipeline_run: UUID, url: str, component: UUID | None = None) -> None:
    """The URL of the pipeline run opens those of its runs that have begun so far."""
    from zenml.metadata.metadata_types import Uri

    with _attaching:
        known = _client().get_pipeline_run(pipeline_run).run_metadata.get("experiment_tracker_url")
        together = Uri(_with_others(url, str(getattr(known, "value", known) or "")))
        _attach("PIPELINE_RUN", pipeline_run, {"experiment_tracker_url": together}, component)


def _with_others(url: str, known: str) -> str:
    """A URL that opens this run and those that the known URL opens, if it is of the same place."""
    here, there = urlsplit(url), urlsplit(known)
    asked, before = parse_qs(here.query), parse_qs(there.query)
    ids = [asked["selected_run_id"][0]]
    if there.netloc == here.netloc and before.get("project") == asked["project"]:
        ids = [*before.get("run_ids", [""])[0].split(","), *ids]
    ids = [one for one in dict.fromkeys(ids) if one][-RUNS_IN_URL:]
    query = urlencode({"project": asked["project"][0], "run_ids": ",".join(ids)}, safe=",")
    return urlunsplit(here._replace(path=here.path.removesuffix("run"), query=query))
