# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Crops to train and to measure on: from images at many scales, and what attention cuts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from torch.utils.data import Dataset

from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data import bags
from sage_perception.vision.attention import MotionAttention

IMAGES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp'}
CLIPS = {'.avi', '.mp4', '.mkv', '.mov', '.webm'}
FETCHED = Path('out/data/images')
MAX_SIDE_PX = 1280  # pixels; larger images are reduced to what a camera would deliver
MAX_FRAMES = 150  # kept of a clip
MAX_CROPS = 3000  # kept of a topic with crops
FLAT = 8.0  # standard deviation in gray levels below which a crop shows next to nothing


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut: `size` of the result and `smallest` side in the source, pixels.

    The side is drawn log-uniformly from `smallest` to the image's shorter side; with `native`
    every crop has `size` source pixels a side and is not rescaled, with `whole` it is the
    image's center. With `loose` the regions that attention chose in clips are moved and scaled
    a little. They are of any side, unless `smallest` says that nothing is to be enlarged.
    """

    size: int = 64
    smallest: int = 48
    native: bool = False
    whole: bool = False
    loose: bool = False


def find(root: Path, suffixes: set[str]) -> list[Path]:
    """Return the files under `root` with one of `suffixes`, sorted; an error if none is there."""
    if not root.is_dir():
        fix = 'tools/fetch_images.py fills it' if root == FETCHED else 'make it, or name another'
        raise FileNotFoundError(f'{root} is no folder: {fix}')
    return sorted(p for p in root.rglob('*') if p.suffix.lower() in suffixes and p.is_file())


def matches(path: Path, patterns: Sequence[str]) -> bool:
    """Tell whether `path` fits one of the glob `patterns`, compared from its right end."""
    return any(path.match(pattern) for pattern in patterns)


def wanted_by(data: DataConfig, held_out: bool) -> Callable[[Path], bool]:
    """Return what tells whether a training uses a file or, with `held_out`, keeps it apart."""
    return lambda path: (
        not matches(path, data.exclude) and matches(path, data.held_out) == held_out
    )


class Image:
    """One image, uint8 RGB `[H, W, 3]`, kept at halved sizes too so that cutting is cheap."""

    def __init__(self, image: np.ndarray):
        scale = MAX_SIDE_PX / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self.levels = [image]
        while min(self.levels[-1].shape[:2]) >= 128:
            half = [side // 2 for side in self.levels[-1].shape[1::-1]]
            self.levels.append(cv2.resize(self.levels[-1], half, interpolation=cv2.INTER_AREA))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (height, width), pixels."""
        return self.levels[0].shape[:2]

    def cut(self, x: float, y: float, side: float, size: int) -> np.ndarray:
        """Return the square at (x, y), scaled to uint8 RGB `[size, size, 3]`."""
        level = min(max(int(math.log2(side / size)), 0), len(self.levels) - 1)
        image = self.levels[level]
        height, width = image.shape[:2]
        side = max(min(round(side / 2**level), height, width), 1)
        x = min(max(round(x / 2**level), 0), width - side)
        y = min(max(round(y / 2**level), 0), height - side)
        square = image[y : y + side, x : x + side]
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        return cv2.resize(square, (size, size), interpolation=how)


Frame = tuple[Image, list[tuple[int, int, int]]]  # with the regions (x, y, side) in it
T = TypeVar('T')


class Stills:
    """Crops from anywhere in a set of images, every file as often as any other."""

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self.pictures = [Image(read_rgb(path)) for path in self.files]

    def __len__(self):
        return len(self.pictures)

    def draw(self, rng: np.random.Generator, config: CropConfig) -> np.ndarray:
        """Return one crop, uint8 RGB `[S, S, 3]`; of flat ones one in five passes."""
        while True:
            picture = self.pictures[rng.integers(len(self.pictures))]
            height, width = picture.shape
            most = min(height, width)
            if config.whole:
                return picture.cut((width - most) / 2, (height - most) / 2, most, config.size)
            side = config.size if config.native else log_uniform(rng, config.smallest, most)
            side = min(side, most)
            crop = picture.cut(
                rng.uniform(0, width - side), rng.uniform(0, height - side), side, config.size
            )
            if crop.std() >= FLAT or rng.random() < 0.2:
                return crop


class Clips:
    """Crops that our own motion attention chooses in clips, in every clip as often as any other.

    Each image topic of a bag is a clip too, and so is each topic with crops.
    Raises `ValueError` for a clip in which nothing moves.
    """

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self.clips = []
        for path in self.files:
            clips = [frames for frames in clips_of(path) if frames]
            if not clips:
                raise ValueError(f'{path}: attention finds nothing that moves in it, exclude it')
            self.clips += clips

    def __len__(self):
        return sum(len(frames) for frames in self.clips)

    def draw(self, rng: np.random.Generator, config: CropConfig) -> np.ndarray:
        """Return one crop, uint8 RGB `[S, S, 3]`."""
        frames = self.clips[rng.integers(len(self.clips))]
        picture, regions = frames[rng.integers(len(frames))]
        x, y, side = regions[rng.integers(len(regions))]
        center = np.array([x, y]) + side / 2
        if config.native:
            side = config.size
        elif config.loose:
            side *= log_uniform(rng, 0.7, 1.5)
            center += rng.uniform(-0.15, 0.15, 2) * side
        if config.smallest >= config.size:
            side = max(side, config.size)
        return picture.cut(*(center - side / 2), side, config.size)


SOURCES = {'stills': Stills, 'motion': Clips}


def read_rgb(path: Path) -> np.ndarray:
    """Return the image at `path`, uint8 RGB `[H, W, 3]`; `ValueError` if it is none."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} is not an image that OpenCV reads')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def clips_of(path: Path) -> list[list[Frame]]:
    """Return what attention kept of a clip, or of each topic of a bag."""
    if not bags.is_bag(path):
        return [attended(partial(clip_frames, path))]
    images, crops = bags.topics_of(path)
    return [
        *(attended(partial(bags.images, path, topic)) for topic in images),
        *(ready(bags.crops(path, topic)) for topic in crops),
    ]


def attended(frames: Callable[[], Iterator[tuple[np.ndarray, float]]]) -> list[Frame]:
    """Return frames of a clip with the regions that attention chose in them.

    `frames` begins the clip anew: images, uint8 BGR `[H, W, 3]`, and their stamps in seconds. It
    is seen twice, the first time to learn the scene.
    """
    attention = MotionAttention()

    def chosen():
        for image, stamp_s, new in seen_twice(frames):
            crops = attention.attend(image, stamp_s)
            if crops and not new:
                yield image, [(crop.roi.x, crop.roi.y, crop.roi.width) for crop in crops]

    return [
        (Image(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), regions)
        for image, regions in kept(chosen(), MAX_FRAMES)
    ]


def ready(crops: Iterable[np.ndarray]) -> list[Frame]:
    """Return crops, uint8 RGB `[S, S, 3]`, as images that are one region each."""
    return [(Image(crop), [(0, 0, crop.shape[0])]) for crop in kept(crops, MAX_CROPS)]


def kept(items: Iterable[T], most: int) -> list[T]:
    """Return at most `most` items, drawn evenly (reservoir sampling: Vitter, 1985)."""
    rng = np.random.default_rng(0)
    drawn = []
    for count, item in enumerate(items, 1):
        place = len(drawn) if len(drawn) < most else rng.integers(count)
        if place < most:
            drawn[place : place + 1] = [item]
    return drawn


def seen_twice(
    frames: Callable[[], Iterator[tuple[np.ndarray, float]]],
) -> Iterator[tuple[np.ndarray, float, bool]]:
    """Yield image, stamp and whether it is new; the second time the stamps go on."""
    stamps = []
    for image, stamp_s in frames():
        stamps.append(stamp_s)
        yield image, stamp_s, True
    if len(stamps) > 1:
        later = (stamps[-1] - stamps[0]) * len(stamps) / (len(stamps) - 1)
        for image, stamp_s in frames():
            yield image, stamp_s + later, False


def clip_frames(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the frames of a clip, uint8 BGR `[H, W, 3]`, with stamps in seconds."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    index = 0
    while True:
        ok, image = capture.read()
        if not ok:
            break
        index += 1
        yield image, index / rate
    capture.release()
    if not index:
        raise ValueError(f'{path} is not a clip that OpenCV reads')


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between `low` and `high`, its logarithm uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def augment(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a varied copy of a uint8 crop `[S, S, C]`: as another camera might have seen it.

    Turned by right angles, mirrored, exposed and white-balanced otherwise, now and then blurred,
    noisy or gray.
    """
    crop = np.rot90(crop, rng.integers(4))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    x = crop.astype(np.float32) / 255
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    x = x * gain.astype(np.float32) + rng.uniform(-0.08, 0.08)
    if rng.random() < 0.1:
        x = np.repeat(x.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.15:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.15:
        x = x + rng.normal(0, rng.uniform(0.005, 0.03), x.shape).astype(np.float32)
    return (x.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def to_model(crops: np.ndarray, channels: int) -> np.ndarray:
    """Map uint8 RGB crops `[..., S, S, 3]` to a model's input, float32 `[..., C, S, S]`."""
    x = crops.astype(np.float32) / 255
    if channels == 1:
        x = x @ np.float32([[0.299], [0.587], [0.114]])  # luma, ITU-R BT.601
    return np.ascontiguousarray(np.moveaxis(x, -1, -3))


@dataclass(frozen=True)
class Mixture:
    """Sources of crops and how often each is drawn from, relative to the others."""

    sources: tuple[Stills | Clips, ...]
    weights: tuple[float, ...]
    config: CropConfig = CropConfig()

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return one crop, uint8 RGB `[S, S, 3]`."""
        p = np.asarray(self.weights) / sum(self.weights)
        return self.sources[rng.choice(len(self.sources), p=p)].draw(rng, self.config)

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Return the same `count` crops for the same `seed`, uint8 RGB `[count, S, S, 3]`."""
        rng = np.random.default_rng(seed)
        return np.stack([self.draw(rng) for _ in range(count)])


def files(root: Path, wanted: Callable[[Path], bool]) -> dict[str, list[Path]]:
    """Return the files under `root` by kind: `'stills'`, `'motion'`, or both."""
    found = {'stills': find(root, IMAGES), 'motion': find(root, CLIPS) + bags.find_bags(root)}
    kinds = {kind: chosen for kind in found if (chosen := list(filter(wanted, found[kind])))}
    if not kinds:
        raise ConfigError(f'{root} holds no image, clip or bag to use')
    return kinds


def sources(root: Path, wanted: Callable[[Path], bool]) -> dict[str, Stills | Clips]:
    """Return what there is under `root`, by kind as in `files`."""
    return {kind: SOURCES[kind](paths) for kind, paths in files(root, wanted).items()}


def mixture(data: DataConfig, size: int, held_out: bool = False) -> Mixture:
    """Return the crops to train on or, with `held_out`, those of the files kept apart.

    Files of a kind whose share is 0 are not read.
    """
    try:
        found = files(Path(data.root), wanted_by(data, held_out))
    except FileNotFoundError as error:
        raise ConfigError(f'data.root: {error}') from None
    except ConfigError as error:
        if held_out:
            raise ConfigError(f'{error}: data.held_out fits no file') from None
        raise
    shares = {'stills': data.stills_share, 'motion': 1 - data.stills_share}
    drawn = {kind: shares[kind] for kind in found if shares[kind]}
    if not drawn:
        place = 'data.held_out fits' if held_out else f'{data.root} holds'
        only = 'images' if 'stills' in found else 'clips'
        raise ConfigError(
            f'data.stills_share is {data.stills_share}, but {place} only {only}: '
            'choose a share between 0 and 1'
        )
    try:
        read = tuple(SOURCES[kind](found[kind]) for kind in drawn)
    except ValueError as error:  # a file that cannot be used
        raise ConfigError(str(error)) from None
    crops = CropConfig(size, data.smallest, whole=data.whole, loose=not held_out)
    return Mixture(read, tuple(drawn.values()), crops)


class CropStream(Dataset):
    """Varied crops `start … start + count` of an endless stream that `seed` determines.

    An item depends on its number alone, so a run that is resumed sees what it would have seen.
    """

    def __init__(self, mixture: Mixture, channels: int, seed: int, start: int, count: int):
        self.mixture, self.channels, self.seed = mixture, channels, seed
        self.start, self.count = start, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.start + index))
        return to_model(augment(self.mixture.draw(rng), rng), self.channels)
