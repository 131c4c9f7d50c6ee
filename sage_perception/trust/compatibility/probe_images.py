# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The shared probe set: images that every entity has, so that only latents need to travel.

Two entities that encode the same images can compare, and translate between, their latent spaces
without showing each other a single one of their own. The images are rendered, not photographed:
leaves of many materials that cover each other (the dead-leaves model, which has the statistics of
natural images: Lee, Mumford and Huang, 2001), lit, blurred and noisy as a camera would have them.

Everything is computed in integers, from the byte stream of SHAKE-256: the images are the same
to the bit on every machine and with every version of every library, and `SHA256` says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sage_perception.trust.compatibility.estimator import Model

VERSION = 1
COUNT = 512  # images
FITTED = 384  # of them, the first, to fit maps on; the others are held back to score them
SIZE = 64  # side, pixels
PART = 16  # images that are computed with at once, which bounds the memory that it takes
SHA256 = 'dbef4629e07d7687ed2052dcd75cc9c8112767549b34a17b6bf9b1700a350e15'

CANVAS = 2 * SIZE  # side that is rendered at, for smooth edges
OCTAVES = 6  # of clouds
COARSEST = 9  # cells of the coarsest octave; each next one has twice as many
SLOPES = 3  # ways in which the octaves' power falls
MARGIN = 16  # pixels around a leaf, for bends and its shadow
DRAWS = 1 << 11  # that an image may make
GRAINS = 1 << 18  # that noise is taken from


@cache
def images() -> np.ndarray:
    """Return the probe images, uint8 RGB `[COUNT, SIZE, SIZE, 3]`, not writable.

    To paint them takes seconds: that is done once on a machine, and the user's cache folder keeps
    them. Processes that start together wait for the one that paints.
    """
    kept = cache_folder() / f'probes-{VERSION}.bin'
    with contextlib.ExitStack() as stack:
        # Without a folder to keep them in, each process paints its own.
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(kept.with_suffix('.lock'), 'w'))
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            data = kept.read_bytes()
            if hashlib.sha256(data).hexdigest() == SHA256:
                return np.frombuffer(data, np.uint8).reshape(COUNT, SIZE, SIZE, 3)
        painted = paint()
        with contextlib.suppress(OSError):
            part = kept.with_suffix(f'.{os.getpid()}')
            part.write_bytes(painted.tobytes())
            part.replace(kept)
    painted.flags.writeable = False
    return painted


def cache_folder() -> Path:
    """Return where to keep what can be made again: `sage` in the user's cache folder."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'sage'


def paint() -> np.ndarray:
    """Paint the probe images, uint8 RGB `[COUNT, SIZE, SIZE, 3]`."""
    grains = stream('grains', GRAINS)
    clouds = sky(grains)
    painters = (Painter(stream(number, DRAWS), grains, clouds) for number in range(COUNT))
    return np.stack([painter.paint() for painter in painters])


def to_input(size: int = SIZE, channels: int = 3, part: slice = slice(COUNT)) -> np.ndarray:
    """Return the probes as a model takes them, float32 `[N, channels, size, size]` in [0, 1].

    Smaller ones are means of squares of pixels, larger ones repeat pixels, gray is BT.601 luma.
    Raises `ValueError` for a size that neither divides `SIZE` nor is a multiple of it.
    """
    x = images()[part].transpose(0, 3, 1, 2)
    if SIZE % size == 0:
        cell = SIZE // size
        x = x.reshape(-1, 3, size, cell, size, cell).sum((3, 5), np.int64) / (255 * cell**2)
    elif size % SIZE == 0:
        x = x.repeat(size // SIZE, 2).repeat(size // SIZE, 3) / 255
    else:
        raise ValueError(f'probes of {SIZE} pixels cannot be scaled to size={size}')
    if channels == 1:
        x = np.tensordot([0.299, 0.587, 0.114], x, (0, 1))[:, None]
    return np.ascontiguousarray(x, np.float32)


def probe_latents(model: Model) -> np.ndarray:
    """Return a model's latents of the probes, float32 `[COUNT, D]`: what it publishes."""
    encoded = [
        model.encode(to_input(model.input_size, model.input_channels, part)) for part in parts()
    ]
    return np.concatenate(encoded, dtype=np.float32).reshape(COUNT, -1)


def parts(start: int = 0) -> Iterator[slice]:
    """Yield the probes from `start` on, a part at a time."""
    return (slice(first, min(first + PART, COUNT)) for first in range(start, COUNT, PART))


def stream(label: object, count: int) -> np.ndarray:
    """Return the uniform numbers of 16 bits that a label stands for, int32 `[count]`."""
    digest = hashlib.shake_256(f'sage probes {VERSION}, {label}'.encode()).digest(2 * count)
    return np.frombuffer(digest, '<u2').astype(np.int32)


class Painter:
    """Paints one image from a stream of draws.

    Coordinates are `y` `[h, 1]` and `x` `[1, w]`, pixels of the canvas.
    """

    def __init__(self, draws: np.ndarray, grains: np.ndarray, clouds: np.ndarray):
        self._draws = iter(draws.tolist())
        self._grains = grains
        self._clouds = clouds

    def paint(self) -> np.ndarray:
        """Return the image, uint8 `[SIZE, SIZE, 3]`."""
        y, x = np.ogrid[:CANVAS, :CANVAS]
        y, x = grid(slice(0, CANVAS), slice(0, CANVAS))
        canvas = self.material(y, x)
        for _ in range(self.log_draw(5)):
            self.cover(canvas)
        self.light(canvas, y, x)
        picture = canvas.reshape(SIZE, 2, SIZE, 2, 3).sum((1, 3)) >> 2
        for _ in range(self.log_draw(3) - 1):
            picture = blurred(picture)
        self.expose(picture)
        return picture.clip(0, 255).astype(np.uint8)

    def draw(self, low: int, high: int) -> int:
        """Return a number in [low, high)."""
        return low + (next(self._draws) * (high - low) >> 16)

    def log_draw(self, octaves: int) -> int:
        """Return a number in [1, 2^octaves), each octave as likely as any other."""
        octave = self.draw(0, octaves)
        return self.draw(1 << octave, 2 << octave)

    def noise(self, *shape: int) -> np.ndarray:
        """Return uniform noise in ±32768, int32."""
        count = math.prod(shape)
        start = self.draw(0, GRAINS - count)
        return self._grains[start : start + count].reshape(shape) - 32768

    def cloud(self, height: int, width: int, finest: int = 0) -> np.ndarray:
        """Return a piece of the clouds without the `finest` octaves, int32 `[height, width]`."""
        field = self._clouds[finest, self.draw(0, SLOPES)]
        if self.draw(0, 2):
            field = field.T
        y, x = self.draw(0, len(field) - height), self.draw(0, len(field) - width)
        piece = field[y : y + height, x : x + width]
        return -piece if self.draw(0, 2) else piece

    def color(self) -> np.ndarray:
        """Return a color, int `[3]`, not clipped: of any lightness, seldom vivid."""
        vivid = self.draw(0, 160) * self.draw(0, 256) >> 8
        hue = self.noise(3)
        tint = (hue - hue.sum() // 3) * vivid >> 15
        return self.draw(8, 248) + tint

    def material(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the look of a surface, int32 `[h, w, 3]`."""
        kind = self.draw(0, 8)
        base, other = self.color(), self.color()
        relief = self.cloud(y.size, x.size, self.draw(0, 4))
        if kind == 0:  # plain
            mix, share = relief >> 5, 0
        elif kind < 5:  # rough; the last one stained as well
            mix, share = relief * self.draw(4, 90) >> 8, (relief + 256 >> 1) * (kind == 4)
        else:  # waves like those of cloth, wood and water; the last ones with hard edges
            phase = self.draw(-64, 65) * x + self.draw(-64, 65) * y + relief * self.draw(0, 5)
            wave = abs((phase * self.draw(1, 5) & 2047) - 1024) >> 2
            mix, share = relief >> 5, (wave if kind < 7 else (wave > 128) * 256) // self.draw(1, 4)
        picture = np.empty((y.size, x.size, 3), np.int32)
        for channel in range(3):
            color = (other[channel] - base[channel]) * share >> 8
            picture[..., channel] = base[channel] + color + mix
        return picture

    def cover(self, canvas: np.ndarray) -> None:
        """Lay one leaf with its shadow on the canvas."""
        kind = self.draw(0, 6)
        center = self.draw(0, CANVAS), self.draw(0, CANVAS)
        length = 3 * self.log_draw(5)
        reach = length + MARGIN if kind < 4 else CANVAS
        window = tuple(slice(max(c - reach, 0), min(c + reach, CANVAS)) for c in center)
        y, x = grid(*window)
        mask = self.outline(kind, y - center[0], x - center[1], length)
        under = canvas[window]
        if depth := self.draw(0, 200):
            shift = self.draw(-6, 7), self.draw(-6, 7)
            dark = np.roll(mask, shift, (0, 1)) * depth
            under *= 256 - dark[..., None]
            under >>= 8
        look = self.material(y, x)
        if self.draw(0, 2):  # a round thing is lit from one side
            slope = self.draw(-3, 4) * (x - center[1]) + self.draw(-3, 4) * (y - center[0])
            look *= (256 + slope.clip(-200, 200)).astype(np.int32)[..., None]
            look >>= 8
        np.copyto(under, look, where=mask[..., None])

    def outline(self, kind: int, y: np.ndarray, x: np.ndarray, a: int) -> np.ndarray:
        """Return where a leaf around (0, 0) is, bool `[h, w]`; `a` is half its length, pixels."""
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
        """Let light fall unevenly."""
        field = self.cloud(CANVAS, CANVAS, 4) * self.draw(0, 160) >> 8
        gradient = self.draw(-2, 3) * (x - SIZE) + self.draw(-2, 3) * (y - SIZE)
        canvas *= (256 + field + gradient // 2).clip(16, 512).astype(np.int32)[..., None]
        canvas >>= 8

    def expose(self, picture: np.ndarray) -> None:
        """Take the image `[SIZE, SIZE, 3]` as a camera would: gain, offset and noise."""
        picture *= self.draw(96, 320) + self.noise(3) // 2048
        picture >>= 8
        picture += self.draw(-24, 40)
        if self.draw(0, 2):
            noise = self.noise(SIZE, SIZE, 3)
            picture += ((noise >> 8) + (noise & 255) - 128) * self.draw(1, 24) >> 8


def grid(rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of a window, int64 `[h, 1]` and `[1, w]`; squares need the bits."""
    y, x = (np.arange(side.start, side.stop, dtype=np.int64) for side in (rows, columns))
    return y[:, None], x[None]


def sky(grains: np.ndarray) -> np.ndarray:
    """Return clouds, int32 `[OCTAVES - 1, SLOPES, side, side]`, about ±256.

    Each octave has equal power, as natural images have it: their spectrum falls with the square of
    the frequency (Field, 1987). The first index is how many of the finest octaves are left out;
    at a higher second one, each octave has less than the coarser one before.
    """
    fields = []
    for finest in range(OCTAVES - 1):
        for slope in range(SLOPES):
            field, amplitude = np.zeros((COARSEST, COARSEST), np.int32), 256
            for octave in range(OCTAVES + 1):
                if octave:
                    field = doubled(field)
                if octave <= OCTAVES - finest:
                    grains, used = np.roll(grains, -field.size), grains[: field.size]
                    field = field + ((used.reshape(field.shape) - 32768) * amplitude >> 15)
                amplitude -= amplitude * slope // 3
            fields.append(field)
    return np.stack(fields).reshape(OCTAVES - 1, SLOPES, *field.shape)


def doubled(field: np.ndarray) -> np.ndarray:
    """Return a field `[n, n]` at twice the resolution, `[2n - 4, 2n - 4]`: a cubic B-spline.

    Subdivision after Catmull and Clark, 1978.
    """
    for _ in range(2):
        left, middle, right = field[:-2], field[1:-1], field[2:]
        rows = np.stack([left + 6 * middle + right, 4 * (middle + right)], 1) >> 3
        field = rows.reshape(-1, field.shape[1]).T
    return field


def blurred(picture: np.ndarray) -> np.ndarray:
    """Return an image `[n, n, 3]` seen through a binomial filter of 3×3, its edges repeated."""
    for _ in range(2):
        wide = np.concatenate([picture[:1], picture, picture[-1:]])
        picture = (wide[:-2] + 2 * wide[1:-1] + wide[2:] >> 2).swapaxes(0, 1)
    return picture
