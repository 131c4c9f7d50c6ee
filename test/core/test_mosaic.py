# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The mosaic: its contents and its size."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.vision.mosaic import (
    AGREE,
    DIFFER,
    TILE,
    TILES,
    CameraView,
    PairView,
    Tile,
    annotate,
    mosaic,
    track_color,
)

RED, BLUE, GREEN = (250, 10, 10), (10, 10, 250), (10, 250, 10)


def plain(color, side=64):
    return np.full((side, side, 3), color, np.uint8)


def frame(width=320, height=240, gray=90):
    return np.full((height, width, 3), gray, np.uint8)


def share(image, color):
    """Return the number of pixels of exactly this color."""
    return int((image == color).all(axis=-1).sum())


def test_shows_crop_and_reconstruction_of_each_tile():
    tiles = [Tile(Roi(10, 10, 50, 50), 1, plain(RED), plain(BLUE), 0.5)]
    image = mosaic([CameraView('cam0', frame(), tiles)])
    assert image.dtype == np.uint8
    # The crop has a border of one pixel in the color of its track, the reconstruction has none.
    assert share(image, RED) == (TILE - 2) ** 2
    assert share(image, BLUE) == TILE**2


def test_shows_crop_without_reconstruction():
    image = mosaic([CameraView('cam0', frame(), [Tile(None, 1, plain(RED))])])
    assert share(image, RED) == (TILE - 2) ** 2


def test_shows_gray_crops():
    gray = np.full((64, 64), 201, np.uint8)
    image = mosaic([CameraView('cam0', None, [Tile(None, 1, gray, gray)])])
    assert share(image, (201, 201, 201)) >= (TILE - 2) ** 2 + TILE**2


def test_shows_whole_frame_with_its_aspect_ratio():
    half = np.zeros((100, 300, 3), np.uint8)
    half[:, :150] = RED
    half[:, 150:] = BLUE
    image = mosaic([CameraView('cam0', half)])
    reds = (image == RED).all(axis=-1)
    blues = (image == BLUE).all(axis=-1)
    for part in (reds, blues):
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert width / height == pytest.approx(1.5, rel=0.05)
    assert np.flatnonzero(reds.any(axis=0)).max() < np.flatnonzero(blues.any(axis=0)).min()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 5), max_size=12),
)
def test_accepts_any_region_that_a_message_can_hold(width, height, regions):
    tiles = [Tile(Roi(*r[:4]), r[4], plain(RED), plain(BLUE), float('nan')) for r in regions]
    image = mosaic([CameraView('cam0', frame(width, height), tiles)])
    assert image.shape == mosaic([CameraView('cam0', None)]).shape


def test_size_depends_only_on_the_number_of_cameras():
    tiles = [Tile(Roi(0, 0, 9, 9), n, plain(RED), plain(BLUE)) for n in range(3 * TILES)]
    empty, full = CameraView('a', None), CameraView('b', frame(), tiles)
    pairs = [PairView(tiles[0], tiles[1], 0.9, True)] * (30)
    shapes = {
        mosaic([a, b], p).shape for a in (empty, full) for b in (full, empty) for p in ([], pairs)
    }
    assert len(shapes) == 1
    assert mosaic([empty]).shape[0] < shapes.pop()[0]


def test_shows_pairs_side_by_side_in_the_color_of_their_level():
    a, b = Tile(None, 1, plain(RED)), Tile(None, 2, plain(GREEN))
    views = [CameraView('a', None), CameraView('b', None)]
    high = mosaic(views, [PairView(a, b, 0.91, True)])
    low = mosaic(views, [PairView(a, b, 0.12, False)])
    for image in (high, low):
        assert share(image, RED) >= (TILE - 1) * (TILE - 1)
        assert share(image, GREEN) >= (TILE - 1) * (TILE - 1)
    assert share(high, AGREE) > 4 * TILE > share(high, DIFFER)
    assert share(low, DIFFER) > 4 * TILE > share(low, AGREE)
    assert share(mosaic(views), RED) == 0


def test_draws_region_around_its_content():
    image = frame()
    before = image.copy()
    drawn = annotate(image, [Tile(Roi(100, 80, 60, 40), 7, plain(RED))])
    assert np.array_equal(image, before), 'the frame is not modified'
    changed = (drawn != before).any(axis=-1)
    assert np.array_equal(drawn[90:110, 110:150], before[90:110, 110:150]), (
        'the content is not drawn over'
    )
    assert changed[80, 100:160].all()
    assert changed[119, 100:160].all()
    assert tuple(drawn[100, 100]) == track_color(7)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (columns.min(), columns.max(), rows.max()) == pytest.approx((100, 159, 119), abs=2)


def test_track_colors_are_stable_and_distinct():
    colors = [track_color(n) for n in range(1, 9)]
    assert len(set(colors)) == len(colors)
    assert colors == [track_color(n) for n in range(1, 9)]
    near = [np.abs(np.subtract(a, b)).max() for a, b in itertools.pairwise(colors)]
    assert min(near) > 60
    assert all(0 <= part <= 255 for part in track_color(2**32 - 1))


def test_the_stamp_of_the_frame_is_drawn():
    views = [CameraView('cam0', frame(), stamp_ns=stamp) for stamp in (None, 10**9, 10**9 + 10**6)]
    images = [mosaic([view]) for view in views]
    for a, b in itertools.combinations(images, 2):
        changed = np.flatnonzero((a != b).any(axis=(1, 2)))
        assert len(changed)
        assert changed.max() < 25, 'only in the bar above the frame'
