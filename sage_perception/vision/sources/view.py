# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What all sources do with an image before they hand it on: window, size, exposure."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.sources.uri import SourceUri


class View:
    """A virtual camera that looks at another one's images.

    Built for images of `width` by `height`; raises SourceError when the window leaves them.
    """

    def __init__(self, uri: SourceUri, width: int, height: int):
        self._shape = (height, width)
        roi = uri.options.get('roi', Roi(0, 0, width, height))
        if roi.x + roi.width > width or roi.y + roi.height > height:
            raise uri.error(
                f'roi={roi.x},{roi.y},{roi.width},{roi.height} is not allowed; '
                f'it must lie inside the image of {width}x{height}'
            )
        self._window = np.s_[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
        self.width, self.height = uri.options.get('size', (roi.width, roi.height))
        self._gain = uri.options.get('gain', 1.0)
        # Averaging keeps strong reductions free of aliasing; near 1:1 it costs more for nothing.
        shrinks = roi.width >= 2 * self.width and roi.height >= 2 * self.height
        self._interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Return uint8 [height, width, 3], contiguous; `image` itself if there is nothing to do.

        Images of another size than announced (folders have them) are scaled to it first.
        """
        if picture.ndim == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        if picture.shape[:2] != self._shape:
            picture = cv2.resize(picture, self._shape[::-1], interpolation=cv2.INTER_AREA)
        picture = picture[self._window]
        if picture.shape[:2] != (self.height, self.width):
            size = (self.width, self.height)
            picture = cv2.resize(picture, size, interpolation=self._interpolation)
        if self._gain != 1.0:
            picture = cv2.convertScaleAbs(picture, alpha=self._gain)
        return np.ascontiguousarray(picture)
