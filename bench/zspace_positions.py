# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positions of tracks in rendered two-view scenes and in recorded stereo with truth.

`rendered`: attention finds the moving objects in both images, latents and epipolar lines match
them, and the centers of matched regions are triangulated. The deviation of a center, a fraction
of the side of its region, and the tails of the errors are fitted on other scenes. `motorcycle`:
squares of the left image are found in the right one; the truth is the disparity of the data set
(Scharstein et al., 2014). `chessboard`: corners of boards; half of the pairs calibrate the rig,
and PnP on the left image gives the truth of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.special import fdtri

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.trust.fusion.assignment import matches
from sage_perception.trust.fusion.comparison import Comparison
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.vision import Attention
from sage_perception.vision.positions import CalibratedCamera, triangulate
from sage_perception.vision.sprites import NoiseBank, make_background, make_sprite

WIDTH, HEIGHT, FOCAL = 640, 480, 500.0
BASELINE_M, WALL_M = 0.6, 6.0
FRAMES, FPS, SETTLE = 75, 15, 20
CHOICE_SEEDS = (60, 61)
SIMILARITY = 0.7
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
FREEDOMS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 1e6)
"""Degrees of freedom of t distributions that are fitted to the errors; the last is Gaussian."""


Locate = Callable[[float], list['Found']]
"""Returns the triangulations with a deviation of the places."""


class Fit(NamedTuple):
    """Deviation of a place, in the unit of `locate`, and degrees of freedom of the errors."""

    deviation: float
    freedom: float


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
        cosines = cosine_matrix(*latents)
        for pair in matches(Comparison(cosines, cosines, cosines), possible):
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


def motorcycle(folder: Path) -> tuple[list[Found], Locate, Fit]:
    """Return the triangulations of every other square of the Middlebury pair.

    The deviation of a place and the tails are fitted on the others.
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

    def known(deviation: float) -> list[Found]:
        return located(squares[::2], deviation)

    fit = _fitted(known)
    return located(squares[1::2], fit.deviation), known, fit


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


def chessboard(folder: Path) -> tuple[list[Found], Locate, Fit]:
    """Return the triangulations of the corners of chessboards, and the fit to other boards."""
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

    def of_known(deviation: float) -> list[Found]:
        return located(known, deviation)

    fit = _fitted(of_known)
    return located(pairs[1::2], fit.deviation), of_known, fit


def _fitted(locate: Locate, freedoms: Sequence[float] = FREEDOMS) -> Fit:
    """Return the fit whose ellipsoids contain the errors most nearly as often as they should.

    The deviation is that with which half of the errors are within the median of F(3, freedom).
    """
    squares = np.array([_mahalanobis(each) for each in locate(1.0)])

    def scaled(freedom: float) -> float:
        return float(np.sqrt(np.median(squares) / _quantile(0.5, freedom)))

    def cost(freedom: float) -> float:
        return _miscalibration(squares / scaled(freedom) ** 2, freedom)

    best = min(freedoms, key=cost)
    return Fit(scaled(best), best)


def _quantile(level: float, freedom: float) -> float:
    """Return the squared radius of the ellipsoid of a t distribution, see `Position.radius`."""
    return 3 * float(fdtri(3, freedom, level))


def _coverage(squares: np.ndarray, freedom: float) -> dict[float, float]:
    return {
        level: round(float((squares <= _quantile(level, freedom)).mean()), 3) for level in LEVELS
    }


def _miscalibration(squares: np.ndarray, freedom: float) -> float:
    """Return the mean difference between nominal and actual coverage."""
    return float(np.mean([abs(q - c) for q, c in _coverage(squares, freedom).items()]))


def _mahalanobis(found: Found) -> float:
    return float(found.error @ np.linalg.solve(found.covariance, found.error))


def _summary(found: list[Found], seeds: list, fit: Fit, gaussian: Fit) -> dict:
    """Return the figures of triangulations with the deviation 1, for a fit and a Gaussian one."""
    relative = np.array([abs(each.error[2]) / each.depth for each in found])
    squares = np.array([_mahalanobis(each) for each in found])
    as_gaussian = squares * (fit.deviation / gaussian.deviation) ** 2
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
        'coverage': _coverage(squares, fit.freedom),
        'calibration_error': round(_miscalibration(squares, fit.freedom), 3),
        'deviation': round(fit.deviation, 4),
        'freedom': fit.freedom,
        'gaussian': {
            'coverage': _coverage(as_gaussian, gaussian.freedom),
            'calibration_error': round(_miscalibration(as_gaussian, gaussian.freedom), 3),
        },
        'bins_predicted_rms_and_median_error': bins,
        'seeds': seeds,
    }


def measure(seeds: list[int], shared: Path | None) -> dict:
    """Return the median error of the depth, relative to it, and the calibration of covariances."""
    encoder = CropEncoder(load_crop_codec('tinyvae'))

    def scenes(numbers, fraction: float) -> list[Found]:
        return list(itertools.chain.from_iterable(rendered(n, encoder, fraction) for n in numbers))

    chosen = scenes(CHOICE_SEEDS, 1.0)
    result = {}

    def add(name: str, locate_chosen: Locate, found: list[Found], fit: Fit, numbers) -> None:
        gaussian = _fitted(locate_chosen, FREEDOMS[-1:])
        result[name] = _summary(found, numbers, fit, gaussian)

    fit = _fitted(lambda _: chosen)
    add('rendered', lambda _: chosen, scenes(seeds, fit.deviation), fit, seeds)
    if shared is not None:
        for name, locate, folder in (
            ('motorcycle', motorcycle, 'stereo_skimage_motorcycle'),
            ('chessboard', chessboard, 'stereo_opencv'),
        ):
            found, known, fit = locate(shared / folder)
            add(name, known, found, fit, [])
    return result
