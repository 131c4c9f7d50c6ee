# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of the probe images, identical to the bit on every machine.

The images are dead leaves: objects of many materials that occlude each other, which have the
statistics of natural images (Lee, Mumford and Huang, Occlusion Models for Natural Images, 2001),
with light, blur and noise as a camera adds them.

All arithmetic is on integers that come from SHAKE-256, so the result depends on neither the
machine nor the version of a library. `probe_set.SHA256` has the digest.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

SIZE = 64
"""Side of an image, pixels."""
CANVAS = 2 * SIZE
"""Side that is rendered, before downscaling by two smooths the edges."""
OCTAVES = 6
"""Octaves of the cloud fields beyond the coarsest."""
COARSEST = 9
"""Cells of the coarsest octave; each finer octave doubles them."""
SLOPES = 3
"""Number of slopes of the clouds' power spectrum."""
MARGIN = 16
"""Pixels around a leaf, for its bends and its shadow."""
DRAWS = 1 << 11
"""Random numbers that one image may draw."""
NOISE_SAMPLES = 1 << 18
"""Size of the table that noise is read from."""


def render(count: int, version: int) -> np.ndarray:
    """Render the first `count` images of a version, uint8 RGB `[count, SIZE, SIZE, 3]`."""
    noise = random_words(version, 'grains', NOISE_SAMPLES)
    clouds = cloud_fields(noise)
    renderers = (
        ImageRenderer(random_words(version, number, DRAWS), noise, clouds)
        for number in range(count)
    )
    return np.stack([renderer.render() for renderer in renderers])


def random_words(version: int, label: object, count: int) -> np.ndarray:
    """Return uniform 16-bit numbers, int32 `[count]`, seeded by the version and a label."""
    digest = hashlib.shake_256(f'sage probes {version}, {label}'.encode()).digest(2 * count)
    return np.frombuffer(digest, '<u2').astype(np.int32)


class ImageRenderer:
    """Renders one image from a sequence of random numbers.

    Coordinates are `y` `[h, 1]` and `x` `[1, w]`, pixels of the canvas.
    """

    def __init__(self, draws: np.ndarray, noise: np.ndarray, clouds: np.ndarray):
        self._draws = iter(draws.tolist())
        self._noise = noise
        self._clouds = clouds

    def render(self) -> np.ndarray:
        """Return the image, uint8 `[SIZE, SIZE, 3]`."""
        y, x = grid(slice(0, CANVAS), slice(0, CANVAS))
        canvas = self.material(y, x)
        for _ in range(self.log_draw(5)):
            self.cover(canvas)
        self.light(canvas, y, x)
        image = canvas.reshape(SIZE, 2, SIZE, 2, 3).sum((1, 3)) >> 2
        for _ in range(self.log_draw(3) - 1):
            image = blurred(image)
        self.expose(image)
        return image.clip(0, 255).astype(np.uint8)

    def draw(self, low: int, high: int) -> int:
        """Return a uniform number in [low, high)."""
        return low + (next(self._draws) * (high - low) >> 16)

    def log_draw(self, octaves: int) -> int:
        """Return a number in [1, 2^octaves); each octave is equally likely."""
        octave = self.draw(0, octaves)
        return self.draw(1 << octave, 2 << octave)

    def noise(self, *shape: int) -> np.ndarray:
        """Return uniform noise in ±32768, int32."""
        count = math.prod(shape)
        start = self.draw(0, NOISE_SAMPLES - count)
        return self._noise[start : start + count].reshape(shape) - 32768

    def cloud(self, height: int, width: int, finest: int = 0) -> np.ndarray:
        """Return a piece of the clouds without the `finest` octaves, int32 `[height, width]`."""
        field = self._clouds[finest, self.draw(0, SLOPES)]
        if self.draw(0, 2):
            field = field.T
        y, x = self.draw(0, len(field) - height), self.draw(0, len(field) - width)
        piece = field[y : y + height, x : x + width]
        return -piece if self.draw(0, 2) else piece

    def color(self) -> np.ndarray:
        """Return a color, int `[3]`, not clipped: uniform lightness, low saturation."""
        saturation = self.draw(0, 160) * self.draw(0, 256) >> 8
        hue = self.noise(3)
        tint = (hue - hue.sum() // 3) * saturation >> 15
        return self.draw(8, 248) + tint

    def material(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the texture of a surface, int32 `[h, w, 3]`."""
        kind = self.draw(0, 8)
        base, other = self.color(), self.color()
        relief = self.cloud(y.size, x.size, self.draw(0, 4))
        share: np.ndarray | int = 0
        if kind == 0:  # plain
            mix = relief >> 5
        elif kind < 5:  # rough; kind 4 is stained as well
            mix, share = relief * self.draw(4, 90) >> 8, (relief + 256 >> 1) * (kind == 4)
        else:  # waves, as of cloth, wood and water; kind 7 has hard edges
            phase = self.draw(-64, 65) * x + self.draw(-64, 65) * y + relief * self.draw(0, 5)
            wave = abs((phase * self.draw(1, 5) & 2047) - 1024) >> 2
            mix, share = relief >> 5, (wave if kind < 7 else (wave > 128) * 256) // self.draw(1, 4)
        texture = np.empty((y.size, x.size, 3), np.int32)
        for channel in range(3):
            color = (other[channel] - base[channel]) * share >> 8
            texture[..., channel] = base[channel] + color + mix
        return texture

    def cover(self, canvas: np.ndarray) -> None:
        """Draw one leaf with its shadow on the canvas."""
        kind = self.draw(0, 6)
        center = self.draw(0, CANVAS), self.draw(0, CANVAS)
        length = 3 * self.log_draw(5)
        reach = length + MARGIN if kind < 4 else CANVAS
        rows, columns = (slice(max(c - reach, 0), min(c + reach, CANVAS)) for c in center)
        y, x = grid(rows, columns)
        mask = self.outline(kind, y - center[0], x - center[1], length)
        under = canvas[rows, columns]
        if depth := self.draw(0, 200):
            shift = self.draw(-6, 7), self.draw(-6, 7)
            dark = np.roll(mask, shift, (0, 1)) * depth
            under *= 256 - dark[..., None]
            under >>= 8
        texture = self.material(y, x)
        if self.draw(0, 2):  # a curved surface is lit from one side
            slope = self.draw(-3, 4) * (x - center[1]) + self.draw(-3, 4) * (y - center[0])
            texture *= (256 + slope.clip(-200, 200)).astype(np.int32)[..., None]
            texture >>= 8
        np.copyto(under, texture, where=mask[..., None])

    def outline(self, kind: int, y: np.ndarray, x: np.ndarray, a: int) -> np.ndarray:
        """Return the mask of a leaf around (0, 0), bool `[h, w]`; `a` is half its length."""
        if self.draw(0, 2):  # an organic outline
            bend = self.draw(2, 6)
            y, x = (c + (self.cloud(y.size, x.size, 2) >> bend) for c in (y, x))
        c, s = self.draw(-64, 65), self.draw(1, 65)
        u, v = c * x + s * y, c * y - s * x
        unit = c * c + s * s
        b = max(a * self.draw(64, 257) >> 8, 2)
        if kind < 3:
            return u * u * (b * b) + v * v * (a * a) <= a * a * b * b * unit
        if kind == 3:
            return (u * u <= a * a * unit) & (v * v <= b * b * unit)
        if kind == 4:  # a bar: a branch, a cable, a post
            return v * v * 4 <= b * b * unit
        return u >= 0  # an edge across the whole image

    def light(self, canvas: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
        """Apply uneven illumination to the canvas."""
        field = self.cloud(CANVAS, CANVAS, 4) * self.draw(0, 160) >> 8
        gradient = self.draw(-2, 3) * (x - SIZE) + self.draw(-2, 3) * (y - SIZE)
        canvas *= (256 + field + gradient // 2).clip(16, 512).astype(np.int32)[..., None]
        canvas >>= 8

    def expose(self, image: np.ndarray) -> None:
        """Apply the gain, offset and noise of a camera to an image `[SIZE, SIZE, 3]`."""
        image *= self.draw(96, 320) + self.noise(3) // 2048
        image >>= 8
        image += self.draw(-24, 40)
        if self.draw(0, 2):
            noise = self.noise(SIZE, SIZE, 3)
            image += ((noise >> 8) + (noise & 255) - 128) * self.draw(1, 24) >> 8


def grid(rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of a window, `[h, 1]` and `[1, w]`; int64, so that squares fit."""
    y, x = (np.arange(side.start, side.stop, dtype=np.int64) for side in (rows, columns))
    return y[:, None], x[None]


def cloud_fields(noise: np.ndarray) -> np.ndarray:
    """Return clouds, int32 `[OCTAVES - 1, SLOPES, side, side]`, in about ±256.

    Each octave has equal power, as in natural images, whose spectrum falls with the square of the
    frequency (Field, 1987). The first index is the number of the finest octaves that are missing;
    with a larger second index the power falls more from one octave to the next.
    """
    fields = []
    for finest in range(OCTAVES - 1):
        for slope in range(SLOPES):
            field, amplitude = np.zeros((COARSEST, COARSEST), np.int32), 256
            for octave in range(OCTAVES + 1):
                if octave:
                    field = doubled(field)
                if octave <= OCTAVES - finest:
                    noise, used = np.roll(noise, -field.size), noise[: field.size]
                    field = field + ((used.reshape(field.shape) - 32768) * amplitude >> 15)
                amplitude -= amplitude * slope // 3
            fields.append(field)
    return np.stack(fields).reshape(OCTAVES - 1, SLOPES, *fields[0].shape)


def doubled(field: np.ndarray) -> np.ndarray:
    """Return a field `[n, n]` at twice the resolution, `[2n - 4, 2n - 4]`.

    Subdivision of a bicubic B-spline (Catmull and Clark, 1978).
    """
    for _ in range(2):
        left, middle, right = field[:-2], field[1:-1], field[2:]
        rows = np.stack([left + 6 * middle + right, 4 * (middle + right)], 1) >> 3
        field = rows.reshape(-1, field.shape[1]).T
    return field


def blurred(image: np.ndarray) -> np.ndarray:
    """Return an image `[n, n, 3]` after a binomial filter of 3×3, with repeated edges."""
    for _ in range(2):
        padded = np.concatenate([image[:1], image, image[-1:]])
        image = (padded[:-2] + 2 * padded[1:-1] + padded[2:] >> 2).swapaxes(0, 1)
    return image
