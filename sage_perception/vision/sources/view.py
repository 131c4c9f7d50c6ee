# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The options that all sources share: crop, scale and gain; footage can also move."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.sources.moving_window import MovingWindow
from sage_perception.vision.sources.uri import SourceUri


class View:
    """Crops, scales and brightens the images of a source, to simulate another camera.

    `width` and `height` are the size of the source's images, pixels. With the option `pan` or
    `shake` the region moves, see `MovingWindow`. Raises `SourceError` if the region leaves the
    images, or has no room to move.
    """

    def __init__(self, uri: SourceUri, width: int, height: int) -> None:
        self._shape = (height, width)
        roi = uri.options.get('roi', Roi(0, 0, width, height))
        if roi.x + roi.width > width or roi.y + roi.height > height:
            raise uri.error(
                f'roi={roi.x},{roi.y},{roi.width},{roi.height} is not allowed; '
                f'it must lie inside the image of {width}x{height}'
            )
        pan, shake = uri.options.get('pan', 0.0), uri.options.get('shake', 0.0)
        if (pan and roi.width == width) or (shake and (roi.width, roi.height) == (width, height)):
            raise uri.error(
                f'pan and shake move the roi, which must be smaller than the image of '
                f'{width}x{height}; add roi=X,Y,WIDTH,HEIGHT'
            )
        self._moving = MovingWindow(roi, width, height, pan, shake) if pan or shake else None
        self._roi = roi
        self.width, self.height = uri.options.get('size', (roi.width, roi.height))
        self._gain = uri.options.get('gain', 1.0)
        # Averaging avoids aliasing if the image shrinks by 2 or more; otherwise it is only slower.
        shrinks = roi.width >= 2 * self.width and roi.height >= 2 * self.height
        self._interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR

    def apply(self, image: np.ndarray, time_s: float = 0.0) -> np.ndarray:
        """Return uint8 `[height, width, 3]`, contiguous; `image` itself if nothing changes.

        `time_s` is the playback time, which places a moving region. An image that differs in size
        from the source (folders contain them) is scaled first.
        """
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if image.shape[:2] != self._shape:
            image = cv2.resize(image, self._shape[::-1], interpolation=cv2.INTER_AREA)
        image = self._cropped(image, time_s)
        if image.shape[:2] != (self.height, self.width):
            size = (self.width, self.height)
            image = cv2.resize(image, size, interpolation=self._interpolation)
        if self._gain != 1.0:
            image = cv2.convertScaleAbs(image, alpha=self._gain)
        return np.ascontiguousarray(image)

    def _cropped(self, image: np.ndarray, time_s: float) -> np.ndarray:
        roi = self._roi
        if self._moving is None:
            return image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
        x, y = self._moving.corner(time_s)
        center = x + (roi.width - 1) / 2, y + (roi.height - 1) / 2
        return cv2.getRectSubPix(image, (roi.width, roi.height), center)
