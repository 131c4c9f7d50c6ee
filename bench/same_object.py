# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Discrimination of the same object in two cameras from other objects, by latent similarity.

Part of `bench/trust.py`. Regions are cut out of two views of a scene with known correspondences,
by disparity (semi-global matching on rectified pairs), by features that fit one epipolar geometry,
by labels, or because the second view is a window of the first, where attention cuts the regions in
both. The labels are the paws and other parts of one mouse, seen from the side and from below. They
are not different objects: they are measured, but not part of the mean.
A positive pair is a region and its counterpart. A hard negative is a region and the counterpart of
another region of the same two images, at least `APART` sides away; a random negative is a region
and one of another set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.core.discrimination import auroc
from sage_perception.core.latent import Roi
from sage_perception.models import Codec
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.vision.attention import Attention
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.sources.video_file import clip_frames

FILES = (
    'motorcycle_left.png',
    'motorcycle_right.png',
    'aloeL.jpg',
    'aloeR.jpg',
    'leuvenA.jpg',
    'leuvenB.jpg',
    'graf1.png',
    'graf3.png',
    'vtest.avi',
)
MAX_REGIONS = 12  # of two images and one size
APART = 0.75  # sides
FLAT = 8.0  # standard deviation, gray levels, of the pixels of a featureless region
SIDES = (64, 96, 128)  # pixels
RANDOM = 20  # random negatives per region
AGREE = 0.7  # the arbiter's agreement_threshold
PARTS = 'paws in a mirror'  # not part of the mean

# Center x, y in the first view, center x, y in the second, and scale of the second.
Match = tuple[float, float, float, float, float]


@dataclass(frozen=True, eq=False)
class Group:
    """Crops of objects in two views, uint8 `[N, 64, 64, 3]`, and their positions.

    `places` `[N, 2]` are the centers in the first view, `side` `[N]` the sides, pixels.
    """

    first: np.ndarray
    second: np.ndarray
    places: np.ndarray
    side: np.ndarray

    @property
    def apart(self) -> np.ndarray:
        """Return which pairs are different objects, bool `[N, N]`."""
        distance = np.abs(self.places[:, None] - self.places[None]).max(-1)
        return distance >= APART * (self.side[:, None] + self.side[None]) / 2


def cut(image: np.ndarray, x: float, y: float, side: float) -> np.ndarray | None:
    """Return the square around (x, y), None if it exceeds the image."""
    height, width = image.shape[:2]
    if not (side / 2 <= x <= width - side / 2 and side / 2 <= y <= height - side / 2):
        return None
    return crop_image(image, square_roi((x, y), side, width, height), 64, 'rgb')


def group(a: np.ndarray, b: np.ndarray, matches: Iterator[Match], side: float) -> Group | None:
    """Return up to `MAX_REGIONS` matches that keep a distance; None for fewer than 2.

    Featureless regions are skipped.
    """
    kept = []
    for xa, ya, xb, yb, scale in matches:
        if any(max(abs(xa - x), abs(ya - y)) < APART * side for _, _, (x, y) in kept):
            continue
        first, second = cut(a, xa, ya, side), cut(b, xb, yb, side * scale)
        if first is not None and second is not None and first.std() >= FLAT:
            kept.append((first, second, (xa, ya)))
        if len(kept) == MAX_REGIONS:
            break
    if len(kept) < 2:
        return None
    first, second, places = map(np.array, zip(*kept, strict=True))
    return Group(first, second, places, np.full(len(kept), side))


def by_disparity(left: np.ndarray, right: np.ndarray, side: float) -> Iterator[Match]:
    """Yield matches of random regions in a rectified pair, by their median disparity."""
    matcher = cv2.StereoSGBM_create(
        0, 256 if left.shape[1] > 1000 and left.shape[0] > 600 else 128, 5, 600, 2400, 1, 63, 10,
        100, 2,
    )  # fmt: skip
    disparity = matcher.compute(left, right).astype(np.float32) / 16
    height, width = disparity.shape
    rng = np.random.default_rng(0)
    for _ in range(400):
        x, y = rng.uniform(side / 2, width - side / 2), rng.uniform(side / 2, height - side / 2)
        window = disparity[
            int(y - side / 2) : int(y + side / 2), int(x - side / 2) : int(x + side / 2)
        ]
        known = window[window > 0]
        if known.size > 0.3 * window.size:
            yield x, y, x - float(np.median(known)), y, 1.0


def by_features(a: np.ndarray, b: np.ndarray, side: float) -> Iterator[Match]:
    """Yield matches of SIFT features that fit one epipolar geometry."""
    sift = cv2.SIFT_create(3000)
    (points_a, found_a), (points_b, found_b) = (sift.detectAndCompute(i, None) for i in (a, b))
    nearest = cv2.BFMatcher().knnMatch(found_a, found_b, k=2)
    good = [m for m, other in nearest if m.distance < 0.75 * other.distance]
    if len(good) < 30:
        return
    pa = np.float32([points_a[m.queryIdx].pt for m in good])
    pb = np.float32([points_b[m.trainIdx].pt for m in good])
    _, inside = cv2.findFundamentalMat(pa, pb, cv2.FM_RANSAC, 1.5, 0.999)
    if inside is None or inside.sum() < 30:
        return
    pa, pb = (p[inside.ravel() > 0] for p in (pa, pb))
    for i in np.random.default_rng(0).permutation(len(pa)):
        near = np.argsort(np.square(pa - pa[i]).sum(1))[1:9]
        spread_a, spread_b = (np.median(np.linalg.norm(p[near] - p[i], axis=1)) for p in (pa, pb))
        if 0 < spread_a < side:
            yield *pa[i], *pb[i], float(np.clip(spread_b / spread_a, 0.6, 1.6))


def pair(first: Path, second: Path, how) -> list[Group]:
    """Return the groups of two images."""
    a, b = cv2.imread(str(first)), cv2.imread(str(second))
    groups = (group(a, b, how(a, b, side), side) for side in SIDES)
    return [g for g in groups if g is not None]


def window_views(clip: Path, step: int = 10) -> Iterator[tuple[float, list, list, list[Roi]]]:
    """Yield what attention finds in a clip and in a brighter, larger window of it.

    These are the time in seconds, the crops of both, and the regions of the latter in coordinates
    of the clip, of each `step`-th image.
    """
    width, height, left, top, zoom = 640, 480, 45, 24, 0.9
    ours, theirs = Attention(), Attention()
    for number, (image, stamp_s) in enumerate(clip_frames(clip)):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        shown = image[top : top + round(zoom * height), left : left + round(zoom * width)]
        shown = cv2.convertScaleAbs(cv2.resize(shown, (width, height)), alpha=1.1, beta=8)
        found = ours.attend(image, stamp_s), theirs.attend(shown, stamp_s)
        if number >= 420:
            break
        if number % step == 0:
            yield stamp_s, *found, [_moved(c.roi, left, top, zoom) for c in found[1]]


def window_of(clip: Path) -> list[Group]:
    """Return the regions that attention finds in a clip and in a brighter, larger window of it."""
    groups = []
    for _, first, second, regions in window_views(clip):
        kept = []
        for crop in first:
            overlaps = [
                (region.iou(crop.roi), other.image)
                for region, other in zip(regions, second, strict=True)
            ]
            overlap, image_b = max(overlaps, key=lambda o: o[0], default=(0, None))
            if overlap > 0.4:
                kept.append((crop.image, image_b, crop.roi.center, crop.roi.width))
        if len(kept) > 1:
            groups.append(Group(*map(np.array, zip(*kept, strict=True))))
    return groups


def _moved(roi: Roi, left: int, top: int, zoom: float) -> Roi:
    """Return a region of the window in coordinates of the whole image."""
    side = round(roi.width * zoom)
    return Roi(round(roi.x * zoom + left), round(roi.y * zoom + top), side, side)


def labeled(folder: Path, side: float = 56.0) -> list[Group]:
    """Return the labeled parts of an animal, seen directly and in a mirror."""
    with (folder / 'CollectedData.csv').open() as file:
        _, parts, _, *rows = csv.reader(file)
    groups = []
    for row in rows:
        image = cv2.imread(str(folder / row[0]))
        places = {
            parts[i]: (float(row[i]), float(row[i + 1]))
            for i in range(1, len(row), 2)
            if row[i] and row[i + 1]
        }
        names = [name[:-4] for name in places if name.endswith('_top')]
        matches = (
            (*places[f'{name}_top'], *places[f'{name}_bot'], 1.0)
            for name in names
            if f'{name}_bot' in places
        )
        groups.append(group(image, image, matches, side))
    return [g for g in groups if g is not None]


class Pair(NamedTuple):
    """An object in two views: its number, its crops, and its region in the first view."""

    number: int
    first: np.ndarray
    second: np.ndarray
    region: Roi


def shown_by_both(views: np.ndarray, masks: np.ndarray) -> list[Pair]:
    """Return the objects of masks `[2, H, W]` that both views, uint8 BGR, show, in crops of 64."""
    pairs = []
    for number in range(1, masks.max() + 1):
        boxes = [cv2.boundingRect((mask == number).astype(np.uint8)) for mask in masks]
        if min(w * h for _, _, w, h in boxes) < 100:
            continue
        regions = [
            square_roi((x + w / 2, y + h / 2), 1.2 * max(w, h, 16), *masks.shape[:0:-1])
            for x, y, w, h in boxes
        ]
        crops = [
            crop_image(np.ascontiguousarray(view), region, 64)
            for view, region in zip(views, regions, strict=True)
        ]
        pairs.append(Pair(number, *crops, regions[0]))
    return pairs


def rendered(folder: Path) -> list[Group]:
    """Return the objects of rendered scenes that two cameras show, by their masks."""
    groups = []
    for path in sorted(folder.glob('*.npz')):
        with np.load(path) as file:
            pairs = shown_by_both(file['rgb'][:, 0, ..., ::-1], file['mask'][:, 0])
        if len(pairs) > 1:
            kept = [(p.first, p.second, p.region.center, p.region.width) for p in pairs]
            groups.append(Group(*map(np.array, zip(*kept, strict=True))))
    return groups


def sets(images: Path, shared: Path | None) -> dict[str, list[Group]]:
    """Return all groups by name: of the fetched images, and of `shared` if given."""
    files = [next(iter(sorted(images.rglob(f'*{name}')))) for name in FILES]
    found = {
        'motorcycle': pair(*files[:2], by_disparity),
        'aloe': pair(*files[2:4], by_disparity),
        'leuven': pair(*files[4:6], by_features),
        'graffiti': pair(*files[6:8], by_features),
        'demo window': window_of(files[8]),
    }
    if shared is not None:
        kitti = shared / 'stereo_kitti_raw'
        found['kitti'] = [
            g
            for n in (4, 8, 12, 16, 19)
            for g in pair(
                *(kitti / side / f'{n:010d}.jpg' for side in ('left', 'right')), by_disparity
            )
        ]
        streets = sorted((shared / 'multiview_lund_street').glob('*.jpg'))
        found['street'] = [
            g
            for a, b in zip(streets[::2], streets[1::2], strict=True)
            for g in pair(a, b, by_features)
        ]
        found[PARTS] = labeled(shared / 'video_two_view_mirror_mouse')
        found['rendered'] = rendered(shared / 'synth_pybullet_two_view')
    return {name: groups for name, groups in found.items() if groups}


def scores(latents: dict[str, list[tuple]], space) -> dict[str, dict]:
    """Return the AUROC of each set in one space; `latents` are (first, second, apart) by group."""
    rng = np.random.default_rng(0)
    result = {}
    for name, groups in latents.items():
        unrelated = np.concatenate(
            [b for other, gs in latents.items() if other != name for _, b, _ in gs]
        )
        same, hard, far = [], [], []
        for a, b, apart in groups:
            cosines = cosine_matrix(space(a), space(b))
            same.append(np.diag(cosines))
            hard.append(cosines[apart])
            drawn = unrelated[rng.integers(0, len(unrelated), RANDOM)]
            far.append(cosine_matrix(space(a), space(drawn)).ravel())
        same, hard, far = map(np.concatenate, (same, hard, far))
        result[name] = {
            'same': len(same),
            'other': len(hard),
            'hard': round(auroc(same, hard), 4),
            'random': round(auroc(same, far), 4),
            'same_agree': round(float((same > AGREE).mean()), 4),
            'other_agree': round(float((hard > AGREE).mean()), 4),
            'median_same': round(float(np.median(same)), 3),
            'median_other': round(float(np.median(hard)), 3),
        }
    return result


def measure(codec: Codec, images: Path, shared: Path | None) -> dict:
    """Return the figures; the AUROC is the mean over all sets except `PARTS`."""

    def encode(crops):
        return codec.encode(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)

    latents = {
        name: [(encode(g.first), encode(g.second), g.apart) for g in groups]
        for name, groups in sets(images, shared).items()
    }
    mean, std, weights = codec.latent_mean, codec.latent_std, similarity_weights(codec)
    spaces = {
        'raw': lambda z: z,
        'centered': lambda z: center(z, mean),
        'whitened': lambda z: center(z, mean, 1 / std),
        'weighted': lambda z: center(z, mean, weights),
    }
    by_space = {name: scores(latents, space) for name, space in spaces.items()}

    def over_sets(space, figure):
        found = [s[figure] for name, s in by_space[space].items() if name != PARTS]
        return round(float(np.mean(found)), 4)

    return {
        'auroc_centered': over_sets('weighted', 'hard'),
        'auroc_raw': over_sets('raw', 'hard'),
        'auroc': {space: {n: over_sets(space, n) for n in ('hard', 'random')} for space in spaces},
        'agree': {
            space: {n: over_sets(space, f'{n}_agree') for n in ('same', 'other')}
            for space in spaces
        },
        'sets': by_space,
    }
