# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The events of a perception graph, offline or running, from which it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.core.lct import LCT
from sage_perception.memory.episodic import Observation
from sage_perception.vision.camera_health import Fault


class Region(NamedTuple):
    """An attended region: its track id, pixels of the frame, and score in [0, 1]."""

    track: int
    roi: Roi
    score: float


class Pair(NamedTuple):
    """Two matched crops of two cameras, their similarity in [-1, 1], and whether they agree."""

    track_a: int
    track_b: int
    similarity: float
    agrees: bool


@dataclass(frozen=True, eq=False)
class FrameEvent:
    """Attention processed a frame of `camera`.

    `image` is the frame, uint8 `[H, W, 3]` BGR, and `inputs` its crops as the model reads them,
    float32 `[B, C, S, S]` in [0, 1], in the order of `regions`; both are None where the source has
    none, as in a running graph. `rejected` is the reason why attention rejected the frame, or ''.
    """

    camera: str
    stamp_ns: int
    size: tuple[int, int]
    fault: Fault
    regions: Sequence[Region]
    rejected: str = ''
    image: np.ndarray | None = None
    inputs: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LctEvent:
    """The arbiter judged the LCTs of a frame of `camera`.

    `rejected` counts the rejected LCTs by reason. `size_bytes` is the size of the transmitted
    latents; 0 if it is not known.
    """

    camera: str
    stamp_ns: int
    accepted: Sequence[LCT]
    rejected: Mapping[str, int] = field(default_factory=dict)
    size_bytes: int = 0


@dataclass(frozen=True)
class TrustEvent:
    """The arbiter reported on a camera, once a second.

    `reputation` and `compression_trust` are in [0, 1], NaN if not measured; `accepted` and
    `rejected` count LCTs since the start.
    """

    camera: str
    stamp_ns: int
    reputation: float
    compression_trust: float
    accepted: int
    rejected: int


@dataclass(frozen=True)
class AgreementEvent:
    """The arbiter matched the crops of two frames of two cameras."""

    camera_a: str
    camera_b: str
    stamp_ns: int
    pairs: Sequence[Pair]


@dataclass(frozen=True, eq=False)
class FusedEvent:
    """The arbiter fused the LCTs of one moment."""

    stamp_ns: int
    lcts: Sequence[LCT]


@dataclass(frozen=True, eq=False)
class MemoryEvent:
    """Memory scored the LCTs of a frame of `camera`, and stored some of them."""

    camera: str
    stamp_ns: int
    observations: Sequence[Observation]


@dataclass(frozen=True, eq=False)
class CodeEvent:
    """A context with `items` items was compressed to `code`, float32 `[256]`.

    `retained` is the share of the energy of the context that the code retains, in [0, 1].
    """

    stamp_ns: int
    items: int
    retained: float
    code: np.ndarray


@dataclass(frozen=True)
class ArrivalEvent:
    """A message of a running graph arrived `latency_s` after its header stamp.

    `stream` is its topic relative to the graph, such as `cam0/crops`.
    """

    stream: str
    stamp_ns: int
    latency_s: float


Event: TypeAlias = (
    FrameEvent
    | LctEvent
    | TrustEvent
    | AgreementEvent
    | FusedEvent
    | MemoryEvent
    | CodeEvent
    | ArrivalEvent
)
Observer: TypeAlias = Callable[[Event], None]
