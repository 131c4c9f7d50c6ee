# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Selects the regions of each image that move or stand out, and publishes them as crops."""

from __future__ import annotations

import sys
import time
from typing import Any

import cv2
from sage_msgs.msg import CropArray
from sensor_msgs.msg import Image

from sage_perception.ros import qos
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node, Topic
from sage_perception.ros.images import bgr_from_msg
from sage_perception.ros.node_parameters import ATTENTION, attention_config
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations
from sage_perception.vision.attention import MotionAttention
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.camera_health import CameraHealth, Fault
from sage_perception.vision.intensity_range import IntensityRange


class AttentionNode(Node):
    """Also detects camera faults, such as a covered or frozen camera."""

    PARAMETERS = ATTENTION
    SUBSCRIBES = (Topic('image_raw', Image, qos.SENSOR_DATA, 'Images, any common encoding.'),)
    PUBLISHES = (
        Topic(
            'crops',
            CropArray,
            qos.CROPS,
            'Crops of each image, highest score first; one message per image.',
        ),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__('attention', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._attention = MotionAttention(self._config())
        self._health = CameraHealth()
        self._intensity = IntensityRange()
        self._durations = Durations()
        self._crops = self.publisher('crops')
        cv2.setNumThreads(self.parameters.threads)
        self._images = self.subscribe(
            'image_raw', self._attend, max_age_s=self.parameters.max_age_s
        )
        self.diagnostics.add('attention', self._report)

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Raise `ValueError` for parameters that attention rejects."""
        try:
            attention_config(values)
        except ValueError as error:
            raise ValueError(f'parameter {error}') from None

    def on_parameters_changed(self) -> None:
        """Restart attention with the new parameters; track ids are not reused."""
        self._attention.reset(self._config())

    def _config(self) -> AttentionConfig:
        return attention_config(self.parameters.values)

    def _attend(self, message: Image) -> None:
        start_s = time.perf_counter()
        try:
            image = bgr_from_msg(message, self._intensity)
            stamp_s = stamp_from_msg(message.header.stamp) * 1e-9
            crops = self._attention.attend(image, stamp_s)
        except ValueError as error:
            self._images.reject(str(error))
            return
        fault = self._health.update(image, stamp_s, self.get_clock().now().nanoseconds * 1e-9)
        array = CropArray(header=message.header, fault=int(fault))
        array.source_width, array.source_height = message.width, message.height
        array.crops = [crop_to_msg(crop, message.header) for crop in crops]
        self._crops.publish(array)
        self._durations.add(time.perf_counter() - start_s)

    def _report(self) -> Status:
        fault = self._health.fault
        values = {
            'camera_fault': fault.name.lower(),
            'attend_p50_ms': self._durations.percentile_ms(50),
            'attend_p95_ms': self._durations.percentile_ms(95),
        }
        if fault > Fault.NONE:
            return WARN, f'camera fault: {fault.name.lower()}', values
        return OK, 'attending', values


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(AttentionNode, args))


if __name__ == '__main__':
    main()
