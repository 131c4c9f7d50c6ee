# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The cameras of a bag, and the stage from which each of them can be replayed.

A camera is the namespace of its topics. It is replayed from the earliest stage that was recorded:
its images, else its crops, else its LCTs.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sage_perception.bags.files import BagError
from sage_perception.bags.legacy import current_name
from sage_perception.bags.reader import Bag, BagTopic

_IMAGES = {'sensor_msgs/msg/Image': 1, 'sensor_msgs/msg/CompressedImage': 2}
_CROPS, _LCTS = 'sage_msgs/msg/CropArray', 'sage_msgs/msg/LCTArray'
_INFO, _PROBES = 'sage_msgs/msg/ModelInfo', 'sage_msgs/msg/ProbeSet'
_PREFERRED = ('image_raw', 'image', 'image_color', 'image_rect_color', 'image_rect')


class Stage(enum.Enum):
    """The first recorded step of the pipeline of a camera."""

    IMAGES = 'images'
    CROPS = 'crops'
    LCTS = 'lcts'


class Source(NamedTuple):
    """A topic of a camera and what it carries."""

    topic: str
    type_name: str


@dataclass(frozen=True)
class BagCamera:
    """A camera of a bag: its absolute namespace, its stage, and the topics to read.

    `announcements` are its model and probe latents, for the stage `LCTS`.
    """

    namespace: str
    stage: Stage
    input: Source
    announcements: tuple[Source, ...] = ()


def find_cameras(bag: Bag, stage: Stage | None = None) -> dict[str, BagCamera]:
    """Return the cameras of a bag by namespace, such as '/robot1/cam0', sorted.

    Args:
        bag: the bag.
        stage: the stage to replay all cameras from; None for the earliest one of each camera.

    Raises:
        BagError: the bag has no camera, or none with that stage.
    """
    candidates: dict[str, dict[Stage, list[BagTopic]]] = {}
    announcements: dict[str, list[Source]] = {}
    for topic in bag.topics.values():
        if not topic.count:
            continue
        namespace, kind = _classify(topic)
        if isinstance(kind, Stage):
            candidates.setdefault(namespace, {}).setdefault(kind, []).append(topic)
        elif kind:
            announcements.setdefault(namespace, []).append(Source(topic.name, topic.type_name))
    found = {}
    for namespace, stages in sorted(candidates.items()):
        first = next((s for s in Stage if s in stages and stage in (None, s)), None)
        if first is None:
            continue
        topic = min(stages[first], key=_rank)
        told = announcements.get(namespace, ()) if first is Stage.LCTS else ()
        source = Source(topic.name, topic.type_name)
        found[namespace] = BagCamera(namespace, first, source, tuple(told))
    if not found:
        kinds = 'images, crops or LCTs' if stage is None else stage.value
        raise BagError(
            f'{bag.path} has no {kinds} of a camera: its topics are '
            f'{", ".join(bag.topics) or "none"}'
        )
    return found


def split_namespace(namespaces: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the namespace of the graph, and the name of each camera relative to it.

    The graph has the common parent of all cameras, '' if there is none: '/robot1/cam0' and
    '/robot1/cam1' are cam0 and cam1 of the graph '/robot1'.
    """
    parents = {namespace.rpartition('/')[0] for namespace in namespaces}
    parent = parents.pop() if len(parents) == 1 else ''
    return parent, {each: each[len(parent) + 1 :] for each in namespaces}


def _classify(topic: BagTopic) -> tuple[str, Stage | str]:
    """Return the namespace of a topic and its stage; 'announcement', or '' for other topics."""
    namespace, _, last = current_name(topic.name, topic.type_name).rpartition('/')
    if topic.type_name in _IMAGES:
        if topic.type_name.endswith('CompressedImage'):
            namespace, _, last = namespace.rpartition('/')
        is_camera = last.startswith('image') and 'depth' not in topic.name.lower()
        return namespace, Stage.IMAGES if is_camera and namespace else ''
    if topic.type_name == _CROPS and last == 'crops':
        return namespace, Stage.CROPS
    if topic.type_name == _LCTS and last == 'lcts':
        return namespace, Stage.LCTS
    announced = (topic.type_name, last) in ((_INFO, 'model_info'), (_PROBES, 'probe_latents'))
    return namespace, 'announcement' if announced else ''


def _rank(topic: BagTopic) -> tuple:
    """Return the key by which to choose among the topics of a camera: raw before compressed."""
    parts = topic.name.split('/')
    base = parts[-2] if topic.type_name.endswith('CompressedImage') else parts[-1]
    preferred = _PREFERRED.index(base) if base in _PREFERRED else len(_PREFERRED)
    return _IMAGES.get(topic.type_name, 0), preferred, topic.name
