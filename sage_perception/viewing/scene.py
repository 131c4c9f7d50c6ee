# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Turns the messages of a graph into items.

>>> scene = Scene(LatentDecoder())
>>> for stamp_ns, item in scene.add(topic, type_name, message, log_time_ns): ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.text import one_line
from sage_perception.viewing import DEFAULT_RATE_HZ
from sage_perception.viewing.camera import CameraScene, points_of
from sage_perception.viewing.items import Color, Graph, ImageItem, Item, Path, Scalar, Text, Timed
from sage_perception.viewing.messages import lcts_of, rgb_of, stamp_ns
from sage_perception.viewing.projection import Projection
from sage_perception.viewing.sheets import sheet
from sage_perception.vision.image_messages import COMPRESSED_TYPE, IMAGE_TYPE
from sage_perception.vision.mosaic import track_color

HIGH = 2
"""LEVEL_HIGH of `sage_msgs/Agreement`."""
AGREE, DIFFER = (90, 200, 90), (235, 150, 60)
MAX_ENTITIES = 64
"""Maximum number of cameras, and of entities in reports; messages of further ones are skipped."""
_LEVELS = {0: 'INFO', 1: 'WARN', 2: 'ERROR', 3: 'ERROR'}
_READ_ERRORS = (ValueError, TypeError, AttributeError, LookupError, OverflowError, cv2.error)

# Topics of other names have the same type: residuals, trusted LCTs, and codes.
_NAMES = {
    'sage_msgs/msg/CropArray': ('crops',),
    'sage_msgs/msg/LCTArray': ('lcts', 'fused', 'recall'),
    'sage_msgs/msg/ModelInfo': ('model_info',),
}

Handler = Callable[[Path, Any], Iterator[Item]]


class Scene:
    """The state of a graph that its messages are drawn with.

    Attributes:
        cameras: the cameras by path, in the order in which they were seen.
        skipped: number of messages by topic that could not be read.
    """

    def __init__(self, decoder: LatentDecoder, rate_hz: float = DEFAULT_RATE_HZ) -> None:
        """Draw images, crops and latents of each camera at most `rate_hz` times a second."""
        self.cameras: dict[Path, CameraScene] = {}
        self.skipped: Counter[str] = Counter()
        self._entities: set[str] = set()
        self._decoder, self._period_ns = decoder, round(1e9 / rate_hz)
        self._projection = Projection()
        self._handlers: dict[str, Handler] = {
            IMAGE_TYPE: self._image,
            COMPRESSED_TYPE: self._image,
            'sage_msgs/msg/CropArray': self._crops,
            'sage_msgs/msg/LCTArray': self._lcts,
            'sage_msgs/msg/ModelInfo': self._model_info,
            'sage_msgs/msg/AgreementArray': self._agreement,
            'sage_msgs/msg/TrustReport': self._trust_report,
            'sage_msgs/msg/SnarcArray': self._snarc,
            'diagnostic_msgs/msg/DiagnosticArray': self._diagnostics,
        }

    def draws(self, topic: str, type_name: str) -> bool:
        """Return whether the messages of a topic are drawn."""
        last = topic.rpartition('/')[2]
        return type_name in self._handlers and last in _NAMES.get(type_name, (last,))

    def add(self, topic: str, type_name: str, message: Any, log_time_ns: int) -> Iterator[Timed]:
        """Yield the items of a message that was received at `log_time_ns`.

        A message that cannot be read is counted in `skipped`, and the first one of a topic gives a
        line of the log.
        """
        if not self.draws(topic, type_name):
            return
        handler = self._handlers[type_name]
        at = log_time_ns
        try:
            at = stamp_ns(message) or log_time_ns
            # The last part of a compressed topic is its transport.
            path = tuple(topic.strip('/').split('/'))
            path = path[:-1] if type_name == COMPRESSED_TYPE and len(path) > 1 else path
            for item in handler(path, message):
                yield Timed(at, item)
            if type_name == 'sage_msgs/msg/LCTArray' and path[-1] == 'lcts':
                for stamp, points in self.camera(path[:-1]).project(message):
                    yield Timed(stamp, points)
                latency_ms = (log_time_ns - at) * 1e-6
                yield Timed(at, Scalar(('latency', '/'.join(path[:-1])), latency_ms))
        except _READ_ERRORS as error:
            self.skipped[topic] += 1
            if self.skipped[topic] == 1:
                text = f'{topic}: a message cannot be read: {one_line(error)}'
                yield Timed(at, Text(('log', 'sage'), text, 'WARN'))

    def finish(self) -> Iterator[Timed]:
        """Yield the items that were waiting for more messages."""
        for stamp, points in points_of(self._projection.finish()):
            yield Timed(stamp, points)

    def camera(self, path: Path) -> CameraScene:
        """Return the camera of a namespace; that without a namespace is named camera.

        Raises `ValueError` for more than `MAX_ENTITIES` cameras: the names are those of messages.
        """
        path = path or ('camera',)
        if path not in self.cameras:
            if len(self.cameras) >= MAX_ENTITIES:
                raise ValueError(f'more than {MAX_ENTITIES} cameras')
            self.cameras[path] = CameraScene(
                path, self._decoder, self._projection, self._period_ns
            )
        return self.cameras[path]

    # Images

    def _image(self, path: Path, message: Any) -> Iterator[Item]:
        *namespace, last = path
        if not last.startswith('image'):  # such as the mosaic and the crop with the best score
            yield ImageItem(('images', *path), rgb_of(message))
            return
        camera = self.camera(tuple(namespace))
        camera.has_images = True
        if camera.frame_due(stamp_ns(message)):
            yield ImageItem((*camera.path, 'image'), rgb_of(message, camera.intensity))

    # Cameras

    def _crops(self, path: Path, message: Any) -> Iterator[Item]:
        yield from self.camera(path[:-1]).add_crops(message)

    def _lcts(self, path: Path, message: Any) -> Iterator[Item]:
        kind = path[-1]
        if kind == 'lcts':
            yield from self.camera(path[:-1]).add_lcts(message)
        elif kind == 'fused' and (lcts := lcts_of(message)):
            trusts = [float(lct.trust) for lct in lcts]
            yield Scalar(('trust', 'fused'), float(np.mean(trusts)))
            yield Scalar(('fused', 'lcts'), float(len(trusts)))
            yield from self._decoded(('fused',), message)
        elif kind == 'recall':
            yield from self._recall(message)

    def _decoded(self, path: Path, message: Any) -> Iterator[Item]:
        """Yield a sheet of the images that the LCTs of an array decode to."""
        lcts = lcts_of(message)
        values = [self._decoder.values(lct.latent) for lct in lcts]
        known = [(lct, z) for lct, z in zip(lcts, values, strict=True) if z is not None]
        if not known or len({len(z) for _, z in known}) > 1:
            return
        model = known[0][0].latent.model
        images = self._decoder.decode(model, np.stack([z for _, z in known]))
        if images is not None:
            labels = [f'{lct.latent.track_id}  t {lct.trust:.2f}' for lct, _ in known]
            colors = [track_color(int(lct.latent.track_id)) for lct, _ in known]
            yield ImageItem(path, sheet([[image] for image in images], labels, colors))

    def _model_info(self, path: Path, message: Any) -> Iterator[Item]:
        self._decoder.add_model_info(message)
        model = message.model
        text = f'model {model.name} {model.version}, {message.backend}, {message.device}'
        yield Text(('log', '/'.join(path[:-1])), text)

    # Arbiter

    def _agreement(self, path: Path, message: Any) -> Iterator[Item]:
        a, b = (self._by_entity(str(e)) for e in (message.entity_a, message.entity_b))
        names = a.name, b.name
        high = [each for each in message.agreements if int(each.level) == HIGH]
        colors: dict[int, Color] = {int(m.track_b): track_color(int(m.track_a)) for m in high}
        b.match(colors)
        pair = f'{names[0]} and {names[1]}'
        yield Scalar(('agreement', pair, 'agree'), float(len(high)))
        yield Scalar(('agreement', pair, 'differ'), float(len(message.agreements) - len(high)))
        if len(message.agreements):
            similarity = float(np.mean([m.similarity for m in message.agreements]))
            yield Scalar(('similarity', pair), similarity)
        yield self._graph(names, message.agreements)
        columns, labels, frames = [], [], []
        for match in message.agreements:
            agrees = int(match.level) == HIGH
            tiles = a.latest.get(int(match.track_a)), b.latest.get(int(match.track_b))
            columns.append(list(tiles))
            labels.append(f'{match.track_a}={match.track_b} {match.similarity:+.2f}')
            frames.append(AGREE if agrees else DIFFER)
        if columns and a.due('matches', stamp_ns(message)):
            yield ImageItem(('matches', 'crops'), sheet(columns, labels, frames))

    def _graph(self, names: tuple[str, str], agreements: Any) -> Graph:
        nodes: dict[str, Color] = {}
        edges = []
        for match in agreements:
            ends = f'{names[0]} {match.track_a}', f'{names[1]} {match.track_b}'
            color = track_color(int(match.track_a))
            nodes[ends[0]] = color
            nodes[ends[1]] = color if int(match.level) == HIGH else track_color(int(match.track_b))
            if int(match.level) == HIGH:
                edges.append(ends)
        return Graph(('matches', 'graph'), list(nodes), list(nodes.values()), edges)

    def _by_entity(self, entity: str) -> CameraScene:
        """Return the camera of an entity: its namespace, or the one with the same last part."""
        path = tuple(entity.strip('/').split('/'))
        if path in self.cameras:
            return self.cameras[path]
        same = [each for each in self.cameras if each and each[-1] == path[-1]]
        return self.camera(same[0] if len(same) == 1 else path)

    def _entity(self, name: Any) -> str:
        """Return the name of an entity; raise `ValueError` for more than `MAX_ENTITIES` names."""
        entity = str(name)
        if entity not in self._entities and len(self._entities) >= MAX_ENTITIES:
            raise ValueError(f'more than {MAX_ENTITIES} entities')
        self._entities.add(entity)
        return entity

    def _trust_report(self, path: Path, message: Any) -> Iterator[Item]:
        entity = self._entity(message.entity_b)
        for name, value in (
            ('reputation', message.reputation),
            ('compression trust', message.compression_trust),
        ):
            if np.isfinite(value):
                yield Scalar(('reports', entity, name), float(value))
        yield Scalar(('rejected', entity), float(message.refused))

    # Memory and diagnostics

    def _snarc(self, path: Path, message: Any) -> Iterator[Item]:
        if len(message.scores):
            camera = self._entity(message.camera) or 'camera'
            salience = max(float(score.salience) for score in message.scores)
            yield Scalar(('salience', camera), salience)
            stored = sum(bool(score.stored) for score in message.scores)
            if stored:
                yield Text(('log', 'memory'), f'stored {stored} LCTs of {camera}')

    def _recall(self, message: Any) -> Iterator[Item]:
        lcts = lcts_of(message)
        if not lcts:
            return
        now_ns = stamp_ns(message)
        ages = [
            (now_ns - int(lct.stamp.sec) * 10**9 - int(lct.stamp.nanosec)) * 1e-9 for lct in lcts
        ]
        text = f'recalled {len(ages)} LCTs, {min(ages):.0f} to {max(ages):.0f} s old'
        yield Text(('log', 'memory'), text)
        yield from self._decoded(('memory', 'recall'), message)

    def _diagnostics(self, path: Path, message: Any) -> Iterator[Item]:
        for status in message.status:
            level = status.level
            number = level[0] if isinstance(level, bytes) else int(level)
            if number:
                text = f'{status.name}: {status.message}'
                yield Text(('log', 'diagnostics'), text, _LEVELS.get(number, 'ERROR'))
