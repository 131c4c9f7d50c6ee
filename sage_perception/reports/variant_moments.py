# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The images in the report of a comparison: the same times of each bag with each variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sage_perception.bags.reader import open_bag
from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.regression.events import Observer
from sage_perception.regression.sources import find_cameras, split_namespace
from sage_perception.regression.variants import Variant
from sage_perception.reports.html.report import Moment
from sage_perception.reports.moments import MomentCollector, Wanted

SHOWN = (0.25, 0.5, 0.75)
"""Times of the images, as fractions of each bag."""


class VariantMoments:
    """Collects the images while the bags are replayed.

    Raises `BagError` for a bag that cannot be read.
    """

    def __init__(self, bags: Sequence[Path]) -> None:
        self._collectors: list[tuple[Path, Variant, MomentCollector]] = []
        self._wanted = {bag: _times(bag) for bag in bags}

    def observers(self, bag: Path, variant: Variant) -> Sequence[Observer]:
        """Return the observer of a replay."""
        collector = MomentCollector(self._wanted[bag])
        self._collectors.append((bag, variant, collector))
        return [collector]

    def moments(self, decoder: LatentDecoder) -> list[Moment]:
        """Return the moments of all replays, those of one time and bag after each other."""
        found = []
        for bag, variant, collector in self._collectors:
            for index, moment in enumerate(collector.moments(decoder)):
                named = replace(moment, title=f'{bag.name}, {variant.name}')
                found.append((str(bag), index, named))
        found.sort(key=lambda each: each[:2])
        return [moment for _, _, moment in found]


def _times(path: Path) -> list[Wanted]:
    with open_bag(path) as bag:
        cameras = tuple(split_namespace(list(find_cameras(bag)))[1].values())
        return [Wanted(path.name, share * bag.duration_s, cameras) for share in SHOWN]
