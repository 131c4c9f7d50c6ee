# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positions of tracks in rendered two-view scenes and in recorded stereo with truth.

`rendered`: attention finds the moving objects in both images, latents and epipolar lines match
them, and the centers of matched regions are triangulated. The deviation of a center, a fraction
of the side of its region, is fitted on other scenes. `motorcycle`: squares of the left image are
found in the right one; the truth is the disparity of the data set (Scharstein et al., 2014).
`chessboard`: corners of boards; half of the pairs calibrate the rig, and PnP on the left image
gives the truth of the others.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.trust.fusion.matching import center, match
from sage_perception.vision import Attention
from sage_perception.vision.positions import CalibratedCamera, triangulate
from sage_perception.vision.sprites import NoiseBank, make_background, make_sprite

WIDTH, HEIGHT, FOCAL = 640, 480, 500.0
BASELINE_M, WALL_M = 0.6, 6.0
FRAMES, FPS, SETTLE = 75, 15, 20
CHOICE_SEEDS = (60, 61)
SIMILARITY = 0.7
QUANTILES = {0.1: 0.584, 0.3: 1.424, 0.5: 2.366, 0.7: 3.665, 0.9: 6.251}
"""Quantiles of the chi-squared distribution with three degrees of freedom."""


class Found(NamedTuple):
    """A triangulation: error `[3]`, covariance `[3, 3]`, depth of the truth, meters."""

    error: np.ndarray
    covariance: np.ndarray
    depth: float


def _camera(matrix: np.ndarray, x: float = 0.0) -> CalibratedCamera:
    pose = np.eye(4)
    pose[0, 3] = x
    return CalibratedCamera(matrix, np.zeros(0), pose)


class Scene:
    """Billboards that move in front of a wall, seen by two parallel cameras."""

    def __init__(self, seed: int) -> None:
        self._random = random = np.random.default_rng(seed)
        matrix = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
        self.cameras = [_camera(matrix, x) for x in (-BASELINE_M / 2, BASELINE_M / 2)]
        self._wall = make_background(random, WIDTH + 128, HEIGHT)
        self._sprites = [make_sprite(random, random.uniform(70, 110, 2), n) for n in range(2)]
        self._size_m = random.uniform(0.3, 0.5, 2)
        self._phase = random.uniform(0, 2 * np.pi, (2, 3))
        self._speed = random.uniform(0.8, 1.6, (2, 3))
        self._noise = NoiseBank(random, WIDTH, HEIGHT, 2.0)

    def points(self, t: float) -> np.ndarray:
        """Return the centers of the objects, `[2, 3]`, meters."""
        swing = np.sin(self._speed * t + self._phase)
        middle = np.array([[-0.55, 0, 2.6], [0.55, 0, 3.2]])
        return middle + swing * (0.4, 0.35, 0.5)

    def render(self, t: float, camera: int) -> np.ndarray:
        """Return the image of a camera, uint8 `[H, W, 3]`."""
        shift = round(FOCAL * self.cameras[camera].center[0] / WALL_M)
        image = self._wall[:, 64 + shift : 64 + shift + WIDTH].copy()
        points = self.points(t)
        for index in np.argsort(-points[:, 2]):
            pixel = self.cameras[camera].project(points[index])
            sprite = self._sprites[index]
            height, width = sprite.opacity.shape
            zoom = FOCAL * self._size_m[index] / points[index, 2] / max(height, width)
            matrix = np.array(
                [
                    [zoom, 0, pixel[0] - zoom * (width - 1) / 2],
                    [0, zoom, pixel[1] - zoom * (height - 1) / 2],
                ]
            )
            cover = cv2.warpAffine(sprite.opacity, matrix, (WIDTH, HEIGHT))[..., None]
            look = cv2.warpAffine(sprite.image, matrix, (WIDTH, HEIGHT))
            image = (cover * look + (1 - cover) * image).astype(np.uint8)
        self._noise.add(image, self._random)
        return image


def rendered(seed: int, encoder: CropEncoder, fraction: float) -> list[Found]:
    """Return the triangulations of matched regions of a scene."""
    scene, mean = Scene(seed), np.asarray(encoder.codec.latent_mean, np.float64).ravel()
    attentions, found = [Attention(), Attention()], []
    for index in range(FRAMES):
        t = index / FPS
        rois, latents = [], []
        for camera, attention in enumerate(attentions):
            crops = [
                crop
                for crop in attention.attend(scene.render(t, camera), t)
                if crop.source == CropSource.MOTION and _inside(crop.roi)
            ]
            rois.append([crop.roi for crop in crops])
            encoded = encoder.encode_crops(crops).means if crops else np.zeros((0, mean.size))
            latents.append(center(encoded, mean))
        if index < SETTLE or not (rois[0] and rois[1]):
            continue
        possible = np.array([[_epipolar(a, b) for b in rois[1]] for a in rois[0]])
        for pair in match(*latents, possible):
            if pair.similarity <= SIMILARITY:
                continue
            own = [rois[0][pair.a], rois[1][pair.b]]
            position = triangulate(
                scene.cameras, [r.center for r in own], [fraction * r.width for r in own]
            )
            if position is not None:
                errors = position.point - scene.points(t)
                nearest = int(np.linalg.norm(errors, axis=1).argmin())
                depth = float(scene.points(t)[nearest, 2])
                found.append(Found(errors[nearest], position.covariance, depth))
    return found


def _inside(roi: Roi) -> bool:
    """Return whether a region does not touch the border, where it shows a part of its object."""
    return min(roi.x, roi.y) > 0 and roi.x + roi.width < WIDTH and roi.y + roi.height < HEIGHT


def _epipolar(a: Roi, b: Roi) -> bool:
    """Return whether two regions of parallel cameras can show one object."""
    (x0, y0), (x1, y1) = a.center, b.center
    return abs(y0 - y1) < 0.25 * max(a.width, b.width) and x0 > x1


def motorcycle(folder: Path) -> tuple[list[Found], float]:
    """Return the triangulations of squares of the Middlebury pair, and the fitted deviation.

    The deviation of a place is fitted on every other square, and the others are returned.
    """
    focal, baseline, principal = 994.978, 0.193001, (311.193, 254.877)
    matrix = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1.0]])
    offset = 31.086  # difference of the principal points, px
    right_matrix = matrix + np.array([[0, 0, offset], [0, 0, 0], [0, 0, 0]])
    cameras = [_camera(matrix), _camera(right_matrix, baseline)]
    left, right = (
        cv2.imread(str(folder / f'motorcycle_{side}.png'), cv2.IMREAD_GRAYSCALE)
        for side in ('left', 'right')
    )
    truth = np.load(folder / 'motorcycle_disp.npz')['arr_0']
    corners = cv2.goodFeaturesToTrack(left, 400, 0.01, 12).reshape(-1, 2).round().astype(int)
    squares = []
    for x, y in corners:
        disparity = _disparity(left, right, x, y)
        around = truth[y - 2 : y + 3, x - 2 : x + 3]
        if disparity is not None and around.size == 25 and np.isfinite(around).all():
            squares.append((x, y, disparity, float(np.median(around))))

    def located(places: list, deviation: float) -> list[Found]:
        found = []
        for x, y, disparity, true in places:
            position = triangulate(cameras, [(x, y), (x - disparity, y)], [deviation] * 2)
            depth = baseline * focal / (true + offset)
            point = depth * np.array([(x - principal[0]) / focal, (y - principal[1]) / focal, 1.0])
            if position is not None:
                found.append(Found(position.point - point, position.covariance, depth))
        return found

    deviation = _fitted(lambda d: located(squares[::2], d))
    return located(squares[1::2], deviation), deviation


def _disparity(left: np.ndarray, right: np.ndarray, x: int, y: int) -> float | None:
    """Return the disparity of a square by normalized cross-correlation, None if ambiguous."""
    half, most = 12, 70
    if not (half <= y < left.shape[0] - half and half + most <= x < left.shape[1] - half):
        return None
    square = left[y - half : y + half + 1, x - half : x + half + 1]
    strip = right[y - half : y + half + 1, x - half - most : x + half + 1]
    scores = cv2.matchTemplate(strip, square, cv2.TM_CCOEFF_NORMED)[0]
    best = int(scores.argmax())
    others = scores[np.abs(np.arange(scores.size) - best) > 3]
    if scores[best] < 0.8 or others.max() > scores[best] - 0.05 or not 0 < best < most:
        return None
    before, here, after = scores[best - 1 : best + 2]
    return most - (best + 0.5 * (before - after) / (before - 2 * here + after))


def chessboard(folder: Path) -> tuple[list[Found], float]:
    """Return the triangulations of the corners of chessboards, and the fitted deviation."""
    size, storage = (9, 6), cv2.FileStorage(str(folder / 'intrinsics.yml'), 0)
    lens = [(storage.getNode(f'M{i}').mat(), storage.getNode(f'D{i}').mat()) for i in (1, 2)]
    board = np.zeros((54, 3), np.float32)
    board[:, :2] = np.mgrid[:9, :6].T.reshape(-1, 2)
    pairs = []
    for path in sorted(folder.glob('left[0-9]*.jpg')):
        both = []
        for name in (path.name, path.name.replace('left', 'right')):
            image = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
            seen, corners = cv2.findChessboardCorners(image, size)
            if seen:
                both.append(cv2.cornerSubPix(image, corners, (5, 5), (-1, -1), (3, 30, 0.01)))
        if len(both) == 2:
            pairs.append([corners.reshape(-1, 2) for corners in both])
    known = pairs[::2]
    result = cv2.stereoCalibrate(
        [board] * len(known),
        [pair[0] for pair in known],
        [pair[1] for pair in known],
        *(lens[0] + lens[1]),
        (640, 480),
        flags=cv2.CALIB_FIX_INTRINSIC,
    )
    to_right = np.eye(4)
    to_right[:3, :3], to_right[:3, 3] = result[5], result[6].ravel()
    cameras = [
        CalibratedCamera(*lens[0], np.eye(4)),
        CalibratedCamera(*lens[1], np.linalg.inv(to_right)),
    ]

    def located(some: list, deviation: float) -> list[Found]:
        found = []
        for first, second in some:
            _, turn, shift = cv2.solvePnP(board, first, *lens[0])
            points = board @ cv2.Rodrigues(turn)[0].T + shift.ravel()
            for pixels, point in zip(zip(first, second, strict=True), points, strict=True):
                position = triangulate(cameras, pixels, [deviation] * 2)
                if position is not None:
                    error = position.point - point
                    found.append(Found(error, position.covariance, float(point[2])))
        return found

    deviation = _fitted(lambda d: located(known, d))
    return located(pairs[1::2], deviation), deviation


def _fitted(locate) -> float:
    """Return the deviation with which half of the errors are within the median of chi-squared."""
    squares = [_mahalanobis(each) for each in locate(1.0)]
    return float(np.sqrt(np.median(squares) / QUANTILES[0.5]))


def _mahalanobis(found: Found) -> float:
    return float(found.error @ np.linalg.solve(found.covariance, found.error))


def _summary(found: list[Found], seeds: list) -> dict:
    relative = np.array([abs(each.error[2]) / each.depth for each in found])
    squares = np.array([_mahalanobis(each) for each in found])
    coverage = {q: round(float((squares <= limit).mean()), 3) for q, limit in QUANTILES.items()}
    order = np.argsort([np.trace(each.covariance) for each in found])
    bins = [
        [
            round(float(np.sqrt(np.mean([np.trace(found[i].covariance) for i in part]))), 4),
            round(float(np.sqrt(np.median([found[i].error @ found[i].error for i in part]))), 4),
        ]
        for part in np.array_split(order, 5)
    ]
    return {
        'value': round(float(np.median(relative)), 4),
        'baselines': {},
        'p90': round(float(np.percentile(relative, 90)), 4),
        'positions': len(found),
        'coverage': coverage,
        'calibration_error': round(float(np.mean([abs(q - c) for q, c in coverage.items()])), 3),
        'bins_predicted_rms_and_median_error': bins,
        'seeds': seeds,
    }


def measure(seeds: list[int], shared: Path | None) -> dict:
    """Return the median error of the depth, relative to it, and the calibration of covariances."""
    encoder = CropEncoder(load_crop_codec('tinyvae'))

    def scenes(numbers, fraction: float) -> list[Found]:
        return list(itertools.chain.from_iterable(rendered(n, encoder, fraction) for n in numbers))

    fraction = _fitted(lambda d: scenes(CHOICE_SEEDS, d))
    result = {'rendered': _summary(scenes(seeds, fraction), seeds)}
    result['rendered']['deviation_of_side'] = round(fraction, 4)
    if shared is not None:
        for name, locate, folder in (
            ('motorcycle', motorcycle, 'stereo_skimage_motorcycle'),
            ('chessboard', chessboard, 'stereo_opencv'),
        ):
            found, deviation = locate(shared / folder)
            result[name] = {**_summary(found, []), 'deviation_px': round(deviation, 3)}
    return result
