# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that divides the images of a camera among object slots."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from sage_msgs.msg import LCTArray, ModelInfo
from sensor_msgs.msg import CompressedImage, Image

from sage_perception import models
from sage_perception.core.lct import LCT
from sage_perception.core.track_ids import first_track_id
from sage_perception.models.slot_encoder import SlotEncoder
from sage_perception.ros import qos
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.lct_arrays import lct_array_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import TrustedKeys, node_identity
from sage_perception.ros.image_input import image_topics
from sage_perception.ros.images import bgr_from_msg, image_to_msg
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.node_parameters.slots import SLOTS
from sage_perception.ros.run import run
from sage_perception.ros.signed_images import signature_topic, subscribe_images
from sage_perception.ros.statistics import Durations, Rate
from sage_perception.ros.tables import Topic
from sage_perception.slots.stream import SlotObservation, SlotStream
from sage_perception.trust.security.canonical import PLAIN
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.intensity_range import IntensityRange
from sage_perception.vision.mosaic import track_color

EARLY = 0.1
"""Share of a period by which an image may be early: the stamps of a camera jitter."""


@dataclass(frozen=True, eq=False)
class _Configured:
    """State that exists while the node is configured."""

    model: SlotEncoder
    stream: SlotStream
    identity: Identity


class SlotsNode(LifecycleNode):
    """Publishes the slots of each image as LCTs of kind SLOT, with regions and tracks.

    Attention uses the regions where its parameter `use_slots` is set.
    """

    PARAMETERS = SLOTS
    SUBSCRIBES = (
        *image_topics('image_raw', 'Images in the encodings of sensor_msgs and OpenCV.'),
        signature_topic('image_raw'),
    )
    PUBLISHES = (
        Topic(
            'slots',
            LCTArray,
            qos.DEFAULT,
            'The slots of an image as LCTs, largest first. The region is the bounding box of the '
            'mask, the track stays with the object, and the trust is the share of the region that '
            'the slot explains.',
        ),
        Topic(
            'slots_model_info',
            ModelInfo,
            qos.LATCHED,
            'Identity and statistics of the slot model.',
        ),
        Topic(
            'segmentation',
            Image,
            qos.VISUALIZATION,
            'mono8 of the size of the image: the number of the LCT in `slots` of each pixel, from '
            '1; 0 is in none.',
        ),
        Topic('segmentation_color', Image, qos.VISUALIZATION, 'The same in colors, rgb8.'),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('slots', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        keys = TrustedKeys(self)
        serve_control(self, keys)
        self._configured: _Configured | None = None
        self._intensity = IntensityRange()
        self._durations, self._rate = Durations(), Rate()
        self._due_s, self._count = -np.inf, 0
        self._slots = self.publisher('slots')
        self._info = self.publisher('slots_model_info')
        self._labels = self.publisher('segmentation')
        self._colors = self.publisher('segmentation_color')
        namespace = self.get_namespace().strip('/')
        self._images = subscribe_images(
            self,
            'image_raw',
            self._receive,
            lambda: keys.store,
            self.parameters.camera_entity or namespace,
            max_age_s=self.parameters.max_age_s,
        )
        self.diagnostics.add('slots', self._report)

    def configure(self) -> None:
        """Load the model, run it once to warm it up, and announce it."""
        parameters = self.parameters
        identity = node_identity(self, parameters.entity_id or self._default_entity())
        try:
            model = models.load_slot_encoder(parameters.model)
            model.threads = parameters.threads
            warm_up, side = SlotStream(model), model.input_size
            for stamp_s in (0.0, 0.1):  # first and later images have graphs of their own
                warm_up.update(np.zeros((side, side, 3), np.uint8), stamp_s)
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        first = parameters.first_track_id or first_track_id(time.time())
        stream = SlotStream(model, parameters.min_area, first)
        self._configured = _Configured(model, stream, identity)
        now = self.get_clock().now().to_msg()
        sequence = identity.next_sequence()
        self._info.publish(
            model_info_to_msg(model, now, identity.entity_id, sequence, identity.key)
        )
        self.get_logger().info(
            f'loaded {model.id} with {model.slot_count} slots; entity {identity.entity_id!r}, '
            f'public key: {identity.public_key}'
        )

    def _default_entity(self) -> str:
        """Return an entity of its own: sequences of the encoder's entity are the encoder's."""
        return f'{self.get_namespace().strip("/")}/slots'.strip('/')

    def _receive(self, message: Image | CompressedImage) -> None:
        configured = self._configured
        if not self.active or configured is None:
            return
        stamp_ns = stamp_from_msg(message.header.stamp)
        if not self._is_due(stamp_ns * 1e-9):
            return
        start_s = time.perf_counter()
        try:
            image = bgr_from_msg(message, self._intensity)
        except ValueError as error:
            self._images.reject(str(error))
            return
        found = configured.stream.update(image, stamp_ns * 1e-9)
        self._publish(configured.identity, message, image.shape[1::-1], found)
        self._count = len(found.latents)
        self._rate.tick()
        self._durations.add(time.perf_counter() - start_s)

    def _is_due(self, stamp_s: float) -> bool:
        """Return whether to process an image; a stamp that jumped back starts over."""
        period_s = 1 / self.parameters.rate
        if -period_s <= stamp_s - self._due_s < -EARLY * period_s:
            return False
        late = stamp_s - self._due_s
        self._due_s = (self._due_s if 0 <= late < period_s else stamp_s) + period_s
        return True

    def _publish(
        self,
        identity: Identity,
        message: Image | CompressedImage,
        size: tuple[int, ...],
        found: SlotObservation,
    ) -> None:
        width, height = size
        sequence = identity.next_sequence()
        lcts = [
            LCT.encoded(
                latent,
                entity_id=identity.entity_id,
                sequence=sequence,
                stamp_ns=stamp_from_msg(message.header.stamp),
                index=index,
            )
            for index, latent in enumerate(found.latents)
        ]
        packed = [(lct, PLAIN) for lct in lcts]
        try:
            array = lct_array_to_msg(
                message.header, (width, height), identity.entity_id, packed, identity.key
            )
        except ValueError as error:
            self._images.reject(str(error))
            return
        self._slots.publish(array)
        wanted = [p for p in (self._labels, self._colors) if p.get_subscription_count()]
        if not wanted:
            return
        labels = cv2.resize(found.labels, (width, height), interpolation=cv2.INTER_NEAREST)
        if self._labels in wanted:
            self._labels.publish(image_to_msg(labels, 'mono8', message.header))
        if self._colors in wanted:
            colors = _colors_of(found)
            self._colors.publish(image_to_msg(colors[labels], 'rgb8', message.header))

    def cleanup(self) -> None:
        """Release the model and the key."""
        self._configured = None

    def _report(self) -> Status:
        if self._configured is None:
            return WARN, 'no model: not configured', {}
        model, identity = self._configured.model, self._configured.identity
        figures = {
            'model': model.id,
            'entity': identity.entity_id,
            'public_key': identity.public_key,
            'slots': self._count,
            'rate_hz': self._rate.hz,
            'slots_p50_ms': self._durations.percentile_ms(50),
            'slots_p95_ms': self._durations.percentile_ms(95),
            'active': self.active,
        }
        if not self.active:
            return WARN, 'not active', figures
        return OK, 'dividing' if identity.key else 'dividing, unsigned', figures


def _colors_of(found: SlotObservation) -> np.ndarray:
    """Return the color of each label, uint8 RGB `[N + 1, 3]`, by track; label 0 is black."""
    colors = [(0, 0, 0), *(track_color(latent.track_id) for latent in found.latents)]
    return np.array(colors, np.uint8)


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(SlotsNode, args))


if __name__ == '__main__':
    main()
