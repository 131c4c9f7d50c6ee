# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""People of the clip of the demo, whose identities were corrected by hand.

The regions are those that attention found at one image per second. Its tracks were joined and
split by hand, by clothing and path, and regions with several people were left out, except for the
couple that stays together. demo_identities.json has for each of eight people (the couple counts as
one) the number of the image and the region, in pixels of an image of 640×480.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.vision.crops import crop_image
from sage_perception.vision.sources.video_file import clip_frames

FILE = Path(__file__).with_suffix('.json')
WIDTH, HEIGHT, RATE_HZ = 640, 480, 10
Crops = dict[str, np.ndarray]


def people(clip: Path) -> dict[int, Crops]:
    """Return the crops of the people by the number of the image, uint8 `[64, 64, 3]`."""
    regions: dict[int, dict[str, Roi]] = {}
    for name, places in json.loads(FILE.read_text()).items():
        for number, *region in places:
            regions.setdefault(number, {})[name] = Roi(*region)
    found: dict[int, Crops] = {}
    for number, (image, _) in enumerate(clip_frames(clip)):
        if number > max(regions):
            break
        if number in regions:
            image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            found[number] = {
                name: crop_image(image, roi, 64, 'rgb') for name, roi in regions[number].items()
            }
    return found


def galleries(moments: dict[int, Crops], gap_s: float) -> Iterator[tuple[Crops, Crops]]:
    """Yield the last crop of each person up to `gap_s` before an image, and those of the image.

    The latter are people that were also seen exactly `gap_s` before.
    """
    for number, seen in moments.items():
        before = number - round(gap_s * RATE_HZ)
        earlier = sorted(each for each in moments if each <= before)
        gallery = {name: crop for each in earlier for name, crop in moments[each].items()}
        yield gallery, {n: crop for n, crop in seen.items() if n in moments.get(before, {})}
