# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Replays a bag through the pipeline, without nodes and as fast as the machine allows.

>>> result = replay_bag('bag')
>>> result.summary.series('cam0/crops', 'frames')
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import deserialize_message

from sage_perception import models
from sage_perception.bags.definitions import UnreadableType, message_class
from sage_perception.bags.files import BagError, storage_files
from sage_perception.bags.reader import Bag, BagMessage, open_bag
from sage_perception.core.text import one_line
from sage_perception.models.compressor import Compressor
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.regression.events import Event, Observer
from sage_perception.regression.graph import Graph
from sage_perception.regression.inputs import CropInput, ImageInput, LctInput, Processed
from sage_perception.regression.models import ModelCache
from sage_perception.regression.settings import GraphSettings, resolve_settings
from sage_perception.regression.sources import (
    BagCamera,
    Source,
    Stage,
    find_cameras,
    split_namespace,
)
from sage_perception.regression.summarize import Summarizer
from sage_perception.regression.summary import Summary
from sage_perception.ros.conversions.announcements import model_info_from_msg, probe_set_from_msg
from sage_perception.ros.node_parameters.attention import attention_config
from sage_perception.ros.parameter_file import ParameterFile
from sage_perception.trust.compatibility.probe_set import probe_latents
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeSet,
    sign_announcement,
)
from sage_perception.trust.security.identity import Identity, find_key

OPENCV_THREADS = 1
"""Threads of OpenCV, as in the nodes: the cameras already share the cores."""
MAX_PENDING = 24
"""Maximum number of messages that are read ahead of the arbiter."""

Input = ImageInput | CropInput | LctInput
Progress = Callable[[float, int], None]


@dataclass
class ReplayResult:
    """The result of replaying a bag.

    Attributes
    ----------
    summary : Summary
        The values to compare with a baseline.
    frames : int
        Number of replayed messages of cameras.
    duration_s : float
        Time from the first message of the bag to the last, seconds.
    wall_s : float
        Time that the replay took, without loading the models, seconds.
    stages_ms : dict
        Mean milliseconds per frame by stage; stages of several cameras run in parallel.
    stages : dict
        The stage that each camera was replayed from, by camera.
    notes : list of str
        Warnings for the user, one line each.

    """

    summary: Summary
    frames: int = 0
    duration_s: float = 0.0
    wall_s: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def realtime_factor(self) -> float:
        """Return the duration of the bag divided by the time of the replay."""
        return self.duration_s / self.wall_s if self.wall_s > 0 else 0.0


def replay_bag(
    path: Path | str,
    *,
    model: str | None = None,
    parameters: ParameterFile | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    stage: Stage | None = None,
    observers: Sequence[Observer] = (),
    codes: bool = True,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> ReplayResult:
    """Replay a bag and return its summary.

    The result depends only on the bag, the models and the parameters, except for refinement with
    a time budget. Messages are streamed: memory does not grow with the bag, except for the
    summary.

    While it runs, OpenCV uses one thread. This applies to the whole process and is restored at
    the end, so replays must not overlap in a process.

    Parameters
    ----------
    path : Path or str
        The bag: its directory, or one storage file.
    model : str, optional
        Model of crops that replaces the one of the parameters: a name, or a folder.
    parameters : ParameterFile, optional
        Parameters of the nodes; by default their defaults.
    overrides : mapping, optional
        Values by kind of node that replace those of `parameters`, such as
        `{'arbiter': {'agreement_fpr': 0.05}}`.
    stage : Stage, optional
        The recorded stage to start from; by default the earliest one of each camera.
    observers : sequence of callable
        Called with each event, in order; see `events`.
    codes : bool
        Also build contexts and compress them, if the compressor fits the model.
    progress : callable, optional
        Called with the fraction that is done, and the number of frames.
    stop : threading.Event, optional
        Ends the replay early when set; the summary is then that of the part so far.

    Raises
    ------
    BagError
        If the bag cannot be read, or has no camera.
    ValueError
        If a parameter, model or key cannot be used.

    """
    with open_bag(path) as bag, ExitStack() as stack:
        cameras = find_cameras(bag, stage)
        namespace, names = split_namespace(list(cameras))
        settings = resolve_settings(
            namespace, list(names.values()), parameters or ParameterFile(), model, overrides
        )
        chosen = {
            names[each]: camera
            for each, camera in cameras.items()
            if names[each] in settings.cameras
        }
        replay = _Replay(bag, chosen, settings, observers, codes)
        stack.callback(replay.close)
        return replay.run(progress, stop or threading.Event())


def bag_sha256(path: Path) -> str:
    """Return a hash over the storage files of a bag, hexadecimal."""
    digest = hashlib.sha256()
    for file in storage_files(path):
        with file.open('rb') as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


class _Replay:
    """The models, inputs and graph for one bag."""

    def __init__(
        self,
        bag: Bag,
        cameras: Mapping[str, BagCamera],
        settings: GraphSettings,
        observers: Sequence[Observer],
        codes: bool,
    ) -> None:
        self._bag, self._cameras, self._settings = bag, cameras, settings
        self._models = ModelCache()
        model = settings.of('arbiter')['model']
        codec = self._models.codec(model)
        self.result = ReplayResult(
            Summary(
                {
                    'bag': bag_sha256(bag.path),
                    'model': codec.id.fingerprint.hex(),
                    'parameters': settings.sha256,
                },
                settings.changed,
            ),
            duration_s=bag.duration_s,
            stages={name: camera.stage.value for name, camera in cameras.items()},
            notes=[*bag.notes, *settings.notes],
        )
        self._stages_s: dict[str, float] = {}
        self._summarizer = Summarizer(self.result.summary)
        self._observers: tuple[Observer, ...] = (self._summarizer, *observers)
        compressor = self._load_compressor(codec) if codes else None
        self._graph = Graph(settings, codec, compressor, self._emit)
        self._announced: list[tuple[str, ModelAnnouncement | ProbeSet]] = []
        self._inputs = {name: self._new_input(name, each) for name, each in cameras.items()}
        self._camera_of, self._announces = self._topics()

    def close(self) -> None:
        """Release the graph."""
        self._graph.close()

    def run(self, progress: Progress | None, stop: threading.Event) -> ReplayResult:
        """Replay the bag."""
        for camera, announcement in self._announced:
            self._announce(camera, announcement)
        begun_s = time.perf_counter()
        with ExitStack() as stack:
            stack.callback(cv2.setNumThreads, cv2.getNumThreads())
            cv2.setNumThreads(OPENCV_THREADS)
            pools = {
                camera: stack.enter_context(ThreadPoolExecutor(1, f'replay {camera}'))
                for camera in self._inputs
            }
            clock = _Clock()
            for message, done in self._processed(pools, stop):
                self._receive(message, done, clock)
                if progress is not None and self.result.duration_s:
                    share = (message.log_time_ns - self._bag.start_ns) * 1e-9
                    progress(share / self.result.duration_s, self.result.frames)
        result = self.result
        result.wall_s = time.perf_counter() - begun_s
        self._summarizer.finish()
        count = max(result.frames, 1)
        result.stages_ms = {name: 1e3 * s / count for name, s in self._stages_s.items()}
        return result

    def _processed(
        self, pools: Mapping[str, ThreadPoolExecutor], stop: threading.Event
    ) -> Iterator[tuple[BagMessage, Processed | None]]:
        """Yield the messages in the order of the bag, each processed by its camera's thread."""
        pending: deque[tuple[BagMessage, Future[Processed] | None]] = deque()
        for message in self._bag.messages({*self._camera_of, *self._announces}):
            if stop.is_set():
                break
            future = None
            if message.topic in self._camera_of:
                camera = self._camera_of[message.topic]
                future = pools[camera].submit(self._inputs[camera].process, message)
            # The bytes of an image are not needed any more, apart from the future's own copy.
            kept = message if future is None else message._replace(data=b'')
            pending.append((kept, future))
            if len(pending) > MAX_PENDING:
                first, ready = pending.popleft()
                yield first, None if ready is None else ready.result()
        for first, ready in pending:
            yield first, None if ready is None else ready.result()

    def _receive(self, message: BagMessage, done: Processed | None, clock: _Clock) -> None:
        if done is None:
            self._receive_announcement(message)
            return
        camera = self._camera_of[message.topic]
        attended = self._cameras[camera].stage is not Stage.LCTS
        begun_s = time.perf_counter()
        now_ns = done.stamp_ns if attended else clock.now_ns(message.log_time_ns, done.stamp_ns)
        self._graph.receive(camera, done, now_ns, attended=attended)
        self.result.frames += 1
        times = {**done.stages_s, 'arbitrate': time.perf_counter() - begun_s}
        for name, seconds in times.items():
            self._stages_s[name] = self._stages_s.get(name, 0.0) + seconds

    def _receive_announcement(self, message: BagMessage) -> None:
        camera = self._announces[message.topic]
        try:
            parsed = deserialize_message(message.data, message_class(message.type_name))
            announcement: ModelAnnouncement | ProbeSet
            if message.type_name.endswith('ModelInfo'):
                announcement = model_info_from_msg(parsed)
            else:
                announcement = probe_set_from_msg(parsed)
        except Exception as error:  # noqa: BLE001 (the kind depends on the middleware)
            self._note(f'{message.topic} has a message that cannot be read: {one_line(error)}')
            return
        self._announce(camera, announcement)

    def _announce(self, camera: str, announcement: ModelAnnouncement | ProbeSet) -> None:
        reason = self._graph.announce(camera, announcement)
        if reason:
            what = 'probe latents' if isinstance(announcement, ProbeSet) else 'model'
            self._note(f'the {what} of {camera} are rejected: {reason}')

    def _emit(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    def _note(self, text: str) -> None:
        if text not in self.result.notes:
            self.result.notes.append(text)

    # Construction

    def _topics(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the cameras by input topic and by announcement topic; checks their types."""
        inputs: dict[str, str] = {}
        announcements: dict[str, str] = {}
        for name, camera in self._cameras.items():
            self._check(camera.input)
            inputs[camera.input.topic] = name
            for source in camera.announcements:
                self._check(source)
                announcements[source.topic] = name
        return inputs, announcements

    def _check(self, source: Source) -> None:
        try:
            note = self._bag.check(source.topic)
        except UnreadableType as error:
            raise BagError(f'{self._bag.path}: {source.topic} cannot be read: {error}') from None
        if note:
            self._note(f'{source.topic}: {note}')

    def _load_compressor(self, codec: models.Codec) -> Compressor | None:
        values = self._settings.of('compressor')
        compressor = models.load_compressor(values['model'], backend=values['backend'])
        if compressor.latents.fingerprint == codec.id.fingerprint:
            return compressor
        self.result.notes.append(
            f'no codes: {compressor.id} is for latents of {compressor.latents}, not {codec.id}'
        )
        return None

    def _new_input(self, name: str, camera: BagCamera) -> Input:
        if camera.stage is Stage.LCTS:
            return LctInput()
        parameters = self._settings.of('encoder', name)
        encoder = self._models.encoder(parameters)
        default = f'{self._settings.namespace}/{name}'.strip('/')
        entity = parameters['entity_id'] or default
        identity = Identity(entity, find_key(parameters['key'], entity), start=1)
        self._announce_encoder(name, encoder.codec, identity)
        if camera.stage is Stage.CROPS:
            return CropInput(encoder, identity)
        config = attention_config(self._settings.of('attention', name))
        return ImageInput(CameraPipeline(encoder, identity, config))

    def _announce_encoder(self, camera: str, codec: models.Codec, identity: Identity) -> None:
        """Queue the announcements that `encoder_node` publishes: model and probe latents."""
        mean, std = (
            np.asarray(values, np.float32).ravel()
            for values in (codec.latent_mean, codec.latent_std)
        )
        entity = identity.entity_id
        model = ModelAnnouncement(entity, identity.next_sequence(), codec.id, mean, std)
        probes = ProbeSet(entity, identity.next_sequence(), codec.id, probe_latents(codec))
        if identity.key is not None:
            model = sign_announcement(model, identity.key)
            probes = sign_announcement(probes, identity.key)
        self._announced += [(camera, model), (camera, probes)]


class _Clock:
    """The time at which a recorded message was received, on the clock of the header stamps.

    It starts at the first stamp and advances with the log times, because the stamps of LCTs may be
    forged.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None

    def now_ns(self, log_time_ns: int, stamp_ns: int) -> int:
        if self._offset_ns is None:
            self._offset_ns = stamp_ns - log_time_ns
        return log_time_ns + self._offset_ns
