# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draws frames, crops, reconstructions and matches of all cameras into images and markers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
from sage_msgs.msg import Agreement, AgreementArray, CropArray, LCTArray, ModelInfo
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from sage_perception import models
from sage_perception.ros import qos
from sage_perception.ros.common_parameters import CAMERAS, IMAGE_TRANSPORT, rate
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.markers import regions_to_markers
from sage_perception.ros.diagnostics import OK, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import SIGNED_REQUESTS
from sage_perception.ros.image_input import ImageInput, image_topics
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Rate
from sage_perception.ros.tables import Topic
from sage_perception.ros.viewer_input import Moment, MomentCollector, TileDecoder, rgb_or_none
from sage_perception.vision.intensity_range import IntensityRange
from sage_perception.vision.mosaic import CameraView, PairView, Tile, mosaic

PATIENCE_S = 0.5
"""Time after which a period of `rate` draws a moment without the messages it lacks, seconds."""


class ViewerNode(Node):
    """Decodes reconstructions from the received latents. Draws only outputs with subscribers.

    A mosaic shows one moment: the regions, crops, latents and matches are those of its frames. The
    stamp of each frame is drawn above it. Each period of `rate` requests a moment, which is drawn
    when it is complete.
    """

    PARAMETERS = (
        CAMERAS,
        IMAGE_TRANSPORT,
        rate(5.0, 'Maximum rate of the images, Hz.', maximum=30.0),
        Parameter(
            'model',
            'tinyvae',
            'Model that decodes the latents: the name of a model, or the folder of an artifact.',
            read_only=True,
        ),
        *SIGNED_REQUESTS,
    )
    SUBSCRIBES = (
        *image_topics('{camera}/image_raw', 'Images of each camera.'),
        Topic('{camera}/camera_info', CameraInfo, qos.SENSOR_DATA, 'Calibration of each camera.'),
        Topic('{camera}/crops', CropArray, qos.SENSOR_DATA, 'Crops of each camera.'),
        Topic(
            'trusted',
            LCTArray,
            qos.SENSOR_DATA_SHARED,
            'LCTs of all cameras that the arbiter accepted.',
        ),
        Topic(
            'agreement',
            AgreementArray,
            qos.SENSOR_DATA_SHARED,
            'Matched crops of the cameras: a message for each camera but the first, per moment.',
        ),
        Topic(
            '{camera}/code_model_info',
            ModelInfo,
            qos.LATCHED_SHARED,
            'Model of the codes of each camera: with semantic codes, regions have nouns.',
        ),
    )
    PUBLISHES = (
        Topic(
            'mosaic',
            Image,
            qos.VISUALIZATION,
            'Frames with regions, crops, reconstructions and matches of all cameras.',
        ),
        Topic('mosaic/compressed', CompressedImage, qos.VISUALIZATION, 'The same image as JPEG.'),
        Topic(
            '{camera}/crop_image',
            Image,
            qos.VISUALIZATION,
            'Crop of each camera with the highest score.',
        ),
        Topic(
            '{camera}/reconstruction',
            Image,
            qos.VISUALIZATION,
            'Image decoded from the latent of that crop.',
        ),
        Topic(
            '{camera}/markers',
            MarkerArray,
            qos.VISUALIZATION,
            'Regions and track ids, 1 m in front of the camera.',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('viewer', **options)

    def setup(self) -> None:
        """Load the decoder and create the endpoints."""
        serve_control(self)
        try:
            self._decoder = TileDecoder(models.load_crop_codec(self.parameters.model))
        except ValueError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        cameras = self.parameters.cameras
        # In the callback that completes a moment, drawing would hold up the rest of the process.
        completed = self.create_guard_condition(self._locked(self._advance))
        self._moment, self._shown = MomentCollector(cameras, completed.trigger), Moment()
        self._requested_s: float | None = None
        self._is_due = False
        self._rate = Rate()
        self._incomplete = 0
        self._mosaic = self.publisher('mosaic')
        self._compressed = self.publisher('mosaic/compressed')
        self._crop_images: dict[str, TopicPublisher] = {}
        self._reconstructions: dict[str, TopicPublisher] = {}
        self._markers: dict[str, TopicPublisher] = {}
        self._intensities: dict[str, IntensityRange] = {}
        moment = self._moment
        for name in cameras:
            self._crop_images[name] = self.publisher('{camera}/crop_image', name)
            self._reconstructions[name] = self.publisher('{camera}/reconstruction', name)
            self._markers[name] = self.publisher('{camera}/markers', name)
            subscribe = partial(self.subscribe, camera=name, timeout_s=0)
            frames, crops = moment.frame_gates[name], moment.crops_gates[name]
            add_frame = partial(moment.add_frame, name)
            ImageInput(self, '{camera}/image_raw', add_frame, name, timeout_s=0, group=frames)
            self._intensities[name] = IntensityRange()
            subscribe('{camera}/camera_info', partial(moment.add_info, name), group=frames)
            subscribe('{camera}/crops', partial(moment.add_crops, name), group=crops)
            subscribe('{camera}/code_model_info', self._note_codes)
        self.subscribe('trusted', moment.add_lcts, timeout_s=0, group=moment.trusted_gate)
        if len(cameras) > 1:
            self.subscribe(
                'agreement', moment.add_agreement, timeout_s=0, group=moment.agreement_gate
            )
        self.add_timer(1 / self.parameters.rate, self._start_period)
        self.diagnostics.add('viewer', self._report)

    def _note_codes(self, message: ModelInfo) -> None:
        self._moment.labeled |= '- semantic' in message.card

    def _outputs(self, camera: str) -> tuple[TopicPublisher, ...]:
        return self._crop_images[camera], self._reconstructions[camera], self._markers[camera]

    def _start_period(self) -> None:
        self._is_due = True
        self._advance()

    def _advance(self) -> None:
        """Draw the requested moment if it is complete, then request the one that is due.

        A moment that is incomplete after `PATIENCE_S` is drawn as it is.
        """
        mosaic_wanted = _has_subscribers(self._mosaic, self._compressed)
        wanted = [
            name for name in self.parameters.cameras if _has_subscribers(*self._outputs(name))
        ]
        if not mosaic_wanted and not wanted:
            self._moment.close()
            self._requested_s = None
            return
        now_s = time.monotonic()
        if self._requested_s is not None:
            if not self._moment.is_complete:
                if now_s - self._requested_s < PATIENCE_S:
                    return
                self._incomplete += 1
            self._requested_s = None
            self._draw(mosaic_wanted, wanted)
        if self._is_due:
            self._is_due = False
            self._moment.request()
            self._requested_s = time.monotonic()

    def _draw(self, mosaic_wanted: bool, cameras: Sequence[str]) -> None:
        """Draw the moment: the mosaic if it is wanted, and the outputs of `cameras`."""
        taken = self._moment.take()
        if taken.cameras:  # else the last moment is drawn again
            self._shown = taken
        tiles = {name: self._tiles(name) for name in self.parameters.cameras}
        for name in cameras:
            self._draw_camera(name, tiles[name])
        if mosaic_wanted:
            self._draw_mosaic(tiles)

    def _tiles(self, name: str) -> list[Tile]:
        moment = self._shown.cameras.get(name)
        if moment is None or moment.crops is None:
            return []
        return self._decoder.tiles(moment.crops, moment.lcts, self._moment.labels)

    def _draw_camera(self, name: str, tiles: list[Tile]) -> None:
        moment = self._shown.cameras.get(name)
        if moment is None or moment.crops is None:
            return
        header = moment.frame.header
        if tiles:
            best = tiles[0]
            self._crop_images[name].publish(image_to_msg(best.crop, 'rgb8', header))
            if best.reconstruction is not None:
                encoding = 'rgb8' if best.reconstruction.ndim == 3 else 'mono8'
                self._reconstructions[name].publish(
                    image_to_msg(best.reconstruction, encoding, header)
                )
        if _has_subscribers(self._markers[name]):
            regions = [(tile.roi, tile.track_id) for tile in tiles if tile.roi is not None]
            size = moment.crops.source_width, moment.crops.source_height
            info = self._moment.infos.get(name)
            self._markers[name].publish(regions_to_markers(header, regions, size, info))

    def _draw_mosaic(self, tiles: dict[str, list[Tile]]) -> None:
        views: list[CameraView] = []
        header = Header(stamp=self.get_clock().now().to_msg())
        for name in reversed(self.parameters.cameras):
            moment = self._shown.cameras.get(name)
            if moment is None:
                views.insert(0, CameraView(name, None))
                continue
            header = moment.frame.header  # finally that of the primary camera
            image = rgb_or_none(moment.frame, self._intensities[name])
            view = CameraView(name, image, tiles[name], moment.stamp_ns)
            views.insert(0, view)
        drawn = mosaic(views, self._pairs(tiles))
        if _has_subscribers(self._mosaic):
            self._mosaic.publish(image_to_msg(drawn, 'rgb8', header))
        if _has_subscribers(self._compressed):
            bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
            self._compressed.publish(jpeg_to_msg(bgr, header))
        self._rate.tick()

    def _pairs(self, tiles: dict[str, list[Tile]]) -> list[PairView]:
        """Return the matches of this moment whose crops are drawn, by the ids of their LCTs."""
        drawn = {tile.id: tile for found in tiles.values() for tile in found if tile.id}
        pairs = []
        for array in self._shown.agreements:
            for match in array.agreements:
                a, b = drawn.get(match.lct_a.tobytes()), drawn.get(match.lct_b.tobytes())
                if a is not None and b is not None:
                    high = match.level == Agreement.LEVEL_HIGH
                    pairs.append(PairView(a, b, match.similarity, high))
        return pairs

    def _report(self) -> Status:
        message = 'drawing' if self._rate.hz else 'no subscribers'
        return OK, message, {'rate_hz': self._rate.hz, 'incomplete': self._incomplete}


def _has_subscribers(*publishers: TopicPublisher) -> bool:
    return any(publisher.get_subscription_count() for publisher in publishers)


def main(args: list[str] | None = None) -> None:
    """Run the node at a lower priority than the nodes of perception."""
    os.nice(10)
    sys.exit(run(ViewerNode, args))


if __name__ == '__main__':
    main()
