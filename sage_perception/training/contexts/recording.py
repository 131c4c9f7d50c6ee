# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Record the contexts of one run: virtual cameras view a scene.

A run passes through the same objects as on a robot: `CameraPipeline` for each camera, and
`FusionPipeline` with arbiter, memory and contexts, with the default parameters of their nodes. The
contexts are therefore those that `compressor_node` would publish.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.codecs.packing import Encoding
from sage_perception.context.builder import ContextBuilder
from sage_perception.context.context import HContext
from sage_perception.context.space import LatentSpace
from sage_perception.core.lct import LCT
from sage_perception.irp.frame import FrameRefiner
from sage_perception.memory import EpisodicMemory
from sage_perception.memory.feed import MemoryFeed
from sage_perception.models import Codec
from sage_perception.pipeline.camera import CameraFrame, CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.pipeline.fusion_pipeline import FusionPipeline
from sage_perception.training.contexts.scenes import RATE_HZ, Scene
from sage_perception.training.contexts.virtual_camera import LabeledRegions, VirtualCamera
from sage_perception.trust.arbiter import Arbiter
from sage_perception.trust.fitted import similarity_of
from sage_perception.trust.security.identity import Identity

PERIOD_S = 0.2
"""Time between two contexts, the default of the parameter `rate` of `compressor_node`."""
WARM_UP_S = 3.0
"""Time before the first context, in which attention learns the background."""
AHEAD_S = 0.5
"""Time from a context to the position in its target."""
MIN_OVERLAP = 0.3
"""Intersection over union above which a crop is considered to show a labeled object."""
BREAK_S = 60.0
"""Time between an earlier visit and the run itself."""

Place = tuple[float, float]
Track = tuple[str, int]


@dataclass(frozen=True)
class Target:
    """The most salient object of a context: its identity and its position `AHEAD_S` later.

    `label` is the index of the image that it is cut from, −1 if unknown. `track` is its track ID,
    unique among the cameras of a run. `later` is (x, y) in half frames from the center, NaN if it
    is out of view.
    """

    label: int
    track: int
    later: Place


class Recording:
    """Records the contexts of one run.

    `encoding` and `refine_budget_ms` are the parameters of `encoder_node`. With a `memory` the run
    begins with a visit of `visit_s` seconds, `BREAK_S` earlier, from which no contexts are taken:
    memory recalls only records older than ten seconds.
    """

    def __init__(
        self,
        codec: Codec,
        cameras: Sequence[VirtualCamera],
        start_s: float,
        memory: EpisodicMemory | None = None,
        *,
        visit_s: float = 0.0,
        encoding: Encoding = Encoding.FLOAT32,
        refine_budget_ms: float = 0.0,
    ):
        self._views = {f'cam{i}': camera for i, camera in enumerate(cameras)}
        names = list(self._views)
        self._pipelines = {
            name: CameraPipeline(
                CropEncoder(
                    codec,
                    encoding=encoding,
                    refiner=_new_refiner(codec, refine_budget_ms),
                ),
                Identity(name, start=1),
            )
            for name in names
        }
        space = LatentSpace.of(codec.id, codec.latent_mean, codec.latent_std)
        self._builder = ContextBuilder(space, names)
        self._fusion = FusionPipeline(
            Arbiter(names, codec, similarity=similarity_of(codec)),
            None if memory is None else MemoryFeed(memory),
            self._builder,
        )
        self._start_s, self._visit_s = start_s, visit_s
        self._labels: dict[bytes, int] = {}

    def run(self, scene: Scene) -> Iterator[tuple[HContext, Target]]:
        """Yield the contexts of a scene with their targets."""
        past: deque = deque(maxlen=1 + max(view.late for view in self._views.values()))
        waiting: deque[tuple[HContext, int]] = deque()
        visited = int(self._visit_s * RATE_HZ)
        due_s = WARM_UP_S
        for index, frame in enumerate(scene):
            past.append(frame)
            t = (index - visited) / RATE_HZ
            now_s = self._start_s + t - (BREAK_S if index < visited else 0.0)
            places = self.step(list(past), round(now_s * 1e9))
            while waiting and now_s >= waiting[0][0].stamp_s + AHEAD_S - 1e-6:
                yield _with_target(*waiting.popleft(), places)
            if t >= due_s:
                due_s += PERIOD_S
                context = self._builder.build()
                if context.keys:
                    waiting.append((context, self._labels.get(context.lct_ids[0], -1)))

    def step(self, past: Sequence, stamp_ns: int) -> dict[Track, Place]:
        """Process one frame of each camera; return the positions of all tracks, in half frames.

        `past` are the frames of the scene so far, the newest one last.
        """
        places: dict[Track, Place] = {}
        for name, view in self._views.items():
            image, regions = view.view(*past[max(len(past) - 1 - view.late, 0)])
            frame = self._pipelines[name].process(image, stamp_ns)
            self._label(frame, regions)
            width, height = frame.size
            for crop in frame.crops:
                x, y = crop.roi.center
                places[name, crop.track_id] = (2 * x / width - 1, 2 * y / height - 1)
            self._receive(name, frame)
        self._fusion.step(stamp_ns)
        return places

    def newest(self, camera: str, track: int) -> LCT:
        """Return the newest LCT of a track; raises `KeyError` if it is not in view."""
        return self._builder.newest_lct((camera, track))

    def _receive(self, camera: str, frame: CameraFrame) -> None:
        """Pass a frame through the arbiter to the context and to memory."""
        stamp_ns, arbiter = frame.stamp_ns, self._fusion.arbiter
        verdicts = [arbiter.admit(camera, lct, now_ns=stamp_ns) for lct in frame.lcts]
        accepted = [verdict.accepted for verdict in verdicts if verdict.accepted is not None]
        self._fusion.add_frame(camera, stamp_ns, frame.size, accepted)

    def _label(self, frame: CameraFrame, regions: LabeledRegions) -> None:
        """Store the label of the object that each crop of a frame shows, −1 for none."""
        for crop, lct in zip(frame.crops, frame.lcts, strict=True):
            overlap, label = max(
                ((crop.roi.iou(roi), label) for roi, label in regions), default=(0.0, -1)
            )
            self._labels[lct.id] = label if overlap > MIN_OVERLAP else -1


def _new_refiner(codec: Codec, budget_ms: float) -> FrameRefiner | None:
    if not budget_ms:
        return None
    return FrameRefiner(str(codec.artifact.path), codec.device, budget_ms)


def _with_target(
    context: HContext, label: int, places: dict[Track, Place]
) -> tuple[HContext, Target]:
    camera, track = context.keys[0]
    track += context.cameras.index(camera) * 1_000_000
    return context, Target(label, track, places.get(context.keys[0], (np.nan, np.nan)))
