# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The path of a window that pans and shakes over the images of a source, as a moving camera does.

The path is a function of the playback time alone, so that an evaluation can compute it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sage_perception.core.latent import Roi

SHAKE_HZ = ((3.1, 5.3), (2.7, 4.9))
"""The two frequencies of the shake, horizontally and vertically, Hz."""
SHARES = (0.6, 0.4)
"""Their shares of the amplitude."""


@dataclass(frozen=True)
class MovingWindow:
    """A window of the size of `roi` inside an image of `width` x `height` pixels.

    It starts at the position of `roi`, pans to the right edge and back between both edges with
    `pan` pixels per second, and deviates from that by at most `shake` pixels per axis. It never
    leaves the image.
    """

    roi: Roi
    width: int
    height: int
    pan: float = 0.0
    shake: float = 0.0

    def corner(self, time_s: float) -> tuple[float, float]:
        """Return the upper left corner of the window at a playback time, (x, y) in pixels."""
        most_x, most_y = self.width - self.roi.width, self.height - self.roi.height
        x = _bounced(self.roi.x + self.pan * time_s, most_x)
        shake_x, shake_y = (
            self.shake
            * sum(
                share * math.sin(2 * math.pi * hz * time_s)
                for share, hz in zip(SHARES, frequencies, strict=True)
            )
            for frequencies in SHAKE_HZ
        )
        return min(max(x + shake_x, 0.0), most_x), min(max(self.roi.y + shake_y, 0.0), most_y)


def _bounced(position: float, most: float) -> float:
    """Return a position that is reflected at 0 and at `most`."""
    if most <= 0:
        return 0.0
    place = position % (2 * most)
    return place if place <= most else 2 * most - place
