# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that projects the saliency cues of all cameras to maps, and weighs the cameras."""

from __future__ import annotations

import math
import sys
import time
from functools import partial
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from sage_perception.pipeline.camera_maps import CameraMaps, FusedMaps
from sage_perception.ros import qos
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.identity import TrustedKeys
from sage_perception.ros.image_input import ImageInput, image_topics
from sage_perception.ros.images import bgr_from_msg, image_to_msg
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.node_parameters.zspace import ZSPACE
from sage_perception.ros.run import run
from sage_perception.ros.signed_images import signature_topic, subscribe_images
from sage_perception.ros.statistics import Durations, Rate
from sage_perception.ros.tables import Topic
from sage_perception.vision.attention import MIN_FRAME_SIDE
from sage_perception.vision.intensity_range import IntensityRange


class ZspaceNode(Node):
    """Works only while a topic has subscribers. A moment has one image of each camera.

    docs/zspace.md describes the cues and the weights.
    """

    PARAMETERS = ZSPACE
    SUBSCRIBES = (
        *image_topics('{camera}/image_raw', 'Images of each camera.'),
        signature_topic('{camera}/image_raw'),
    )
    PUBLISHES = (
        Topic(
            'attention_map',
            Image,
            qos.VISUALIZATION,
            'mono8, 80 x 60 pixels: the weighted mean of the maps of all cameras; 255 is the '
            'highest value.',
        ),
        Topic(
            '{camera}/attention_map',
            Image,
            qos.VISUALIZATION,
            'mono8 of the size of the image: the map of each camera.',
        ),
        Topic(
            'view_weights',
            Float32MultiArray,
            qos.DEFAULT,
            'Weights of the cameras, in the order of `cameras` and with the sum 1; the last '
            'element is the disagreement of their maps in [0, 1].',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('zspace', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        keys = TrustedKeys(self)
        serve_control(self, keys)
        parameters = self.parameters
        cv2.setNumThreads(parameters.threads)
        self._maps = CameraMaps(parameters.cameras, parameters.weight_time_s)
        self._images: dict[str, Image | CompressedImage] = {}
        self._intensities = {camera: IntensityRange() for camera in parameters.cameras}
        self._sources: dict[str, ImageInput] = {}
        self._own: dict[str, TopicPublisher] = {}
        self._durations, self._rate = Durations(), Rate()
        self._weights: dict[str, float] = {}
        self._disagreement = math.nan
        self._map = self.publisher('attention_map')
        self._plot = self.publisher('view_weights')
        for camera in parameters.cameras:
            self._own[camera] = self.publisher('{camera}/attention_map', camera)
            receive = partial(self._images.__setitem__, camera)
            self._sources[camera] = subscribe_images(
                self,
                '{camera}/image_raw',
                receive,
                lambda: keys.store,
                self.camera_entities()[camera],
                camera,
            )
        self.add_timer(1 / parameters.rate, self._project)
        self.diagnostics.add('zspace', self._report)

    def _project(self) -> None:
        """Project the newest images if there is one of each camera, and anything subscribes."""
        outputs = [self._map, self._plot, *self._own.values()]
        wanted = any(output.get_subscription_count() for output in outputs)
        if not wanted or len(self._images) < len(self._sources):
            return
        taken = {camera: self._images.pop(camera) for camera in self._sources}
        images = []
        for camera, message in taken.items():
            try:
                images.append(_checked(bgr_from_msg(message, self._intensities[camera])))
            except ValueError as error:
                self._sources[camera].reject(str(error))
                return
        start_s = time.perf_counter()
        stamps_s = [stamp_from_msg(message.header.stamp) * 1e-9 for message in taken.values()]
        maps = self._maps.update(images, stamps_s)
        self._durations.add(time.perf_counter() - start_s)
        self._rate.tick()
        self._weights = dict(zip(taken, map(float, maps.weights), strict=True))
        self._disagreement = maps.disagreement
        self._publish(taken, images, maps)

    def _publish(
        self,
        messages: dict[str, Image | CompressedImage],
        images: list[np.ndarray],
        maps: FusedMaps,
    ) -> None:
        headers = {camera: message.header for camera, message in messages.items()}
        if self._map.get_subscription_count():
            header = next(iter(headers.values()))
            self._map.publish(image_to_msg(_gray(maps.fused), 'mono8', header))
        for (camera, output), image, cues in zip(
            self._own.items(), images, maps.cues, strict=True
        ):
            if output.get_subscription_count():
                size = image.shape[1], image.shape[0]
                scaled = cv2.resize(_gray(cues.projection), size, interpolation=cv2.INTER_LINEAR)
                output.publish(image_to_msg(scaled, 'mono8', headers[camera]))
        values = [*self._weights.values(), maps.disagreement]
        message = Float32MultiArray(data=values)
        label = ','.join([*self._weights, 'disagreement'])
        count = len(values)
        message.layout.dim = [MultiArrayDimension(label=label, size=count, stride=count)]
        self._plot.publish(message)

    def _report(self) -> Status:
        values = {f'{camera} weight': weight for camera, weight in self._weights.items()}
        figures = {
            **values,
            'disagreement': self._disagreement,
            'rate_hz': self._rate.hz,
            'map_p50_ms': self._durations.percentile_ms(50),
        }
        missing = [camera for camera in self._sources if camera not in self._images]
        if missing and not self._rate.hz:
            return WARN, f'no images of {", ".join(missing)}', figures
        return OK, 'projecting' if self._rate.hz else 'no subscribers', figures


def _checked(image: np.ndarray) -> np.ndarray:
    """Return an image; raise `ValueError` if it is too small for attention."""
    height, width = image.shape[:2]
    if min(height, width) < MIN_FRAME_SIDE:
        raise ValueError(
            f'image is {width}x{height} pixels; maps need at least '
            f'{MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}'
        )
    return image


def _gray(values: np.ndarray) -> np.ndarray:
    """Return a map as gray levels, uint8 `[H, W]`; its highest value is 255."""
    highest = max(float(values.max()), 1e-9)
    return (np.clip(values / highest, 0, 1) * 255 + 0.5).astype(np.uint8)


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(ZspaceNode, args))


if __name__ == '__main__':
    main()
