# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Images to latents and back by hand: `sage encode`, `sage decode`, `sage reconstruct`."""

from __future__ import annotations

import io
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.core.latent import ModelId, Roi
from sage_perception.core.metrics import psnr, ssim
from sage_perception.models import Codec, ModelError, available, load_codec
from sage_perception.vision.crops import crop_image, square_roi, to_pixels
from sage_perception.vision.grid import grid

# What NumPy and Pillow raise for damaged bytes, and what the checks of a `Coded` do.
DAMAGED_ARCHIVE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
DAMAGED_IMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, eq=False)
class Coded:
    """Latents of images, and where each was cut.

    `latents` is float32 `[N, …]`, `rois` int32 `[N, 4]` (x, y, width, height), `owners` int32
    `[N]` the number of the image. `names` and `sizes` (int32 `[P, 2]`, height and width) are of
    the P images. `tiled` tells tiles that cover an image from center squares, one of each.

    Raises `ValueError` for what encoding images does not yield.
    """

    model: ModelId
    latents: np.ndarray
    rois: np.ndarray
    owners: np.ndarray
    names: list[str]
    sizes: np.ndarray
    tiled: bool

    def __post_init__(self):
        shape = list(self.latents.shape)
        if self.latents.dtype != np.float32 or len(shape) < 2 or not self.latents.size:
            raise ValueError(f'latents are float32 [N, …], not {self.latents.dtype} {shape}')
        if not np.isfinite(self.latents).all():
            raise ValueError('a latent has a number that is not finite')
        count, pictures = len(self.latents), len(self.names)
        shapes = {'rois': (count, 4), 'owners': (count,), 'sizes': (pictures, 2)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.int32 or array.shape != shape:
                raise ValueError(
                    f'{name} of {count} latents of {pictures} images are int32 {list(shape)}, '
                    f'not {array.dtype} {list(array.shape)}'
                )
        owners = np.unique(self.owners) if self.tiled else self.owners
        if not np.array_equal(owners, np.arange(pictures)):
            raise ValueError(f'owners are not the numbers 0 to {pictures - 1} of the images')
        corner, extent = np.split(self.rois.astype(np.int64), 2, axis=1)
        frame = self.sizes[self.owners, ::-1]
        if (corner < 0).any() or (extent < 1).any() or (corner + extent > frame).any():
            raise ValueError('a square of rois is not inside its image')
        covered = np.bincount(self.owners, extent.prod(1))
        if self.tiled and (covered < self.sizes.prod(1, dtype=np.int64)).any():
            raise ValueError('the tiles of an image are too few to cover it')

    def save(self, path: Path) -> None:
        """Write a NumPy archive."""
        with path.open('wb') as file:
            np.savez_compressed(
                file,
                model=np.array([self.model.name, self.model.version]),
                fingerprint=np.frombuffer(self.model.fingerprint, np.uint8),
                latents=self.latents,
                rois=self.rois,
                owners=self.owners,
                names=np.array(self.names),
                sizes=self.sizes,
                tiled=self.tiled,
            )

    @classmethod
    def read(cls, path: Path) -> Coded:
        """Read what `save` wrote; `ValueError` if it is anything else."""
        try:
            if path.exists() and not zipfile.is_zipfile(path):
                raise ValueError('it is no .npz archive')
            with np.load(path, allow_pickle=False) as file:
                name, version = file['model']
                return cls(
                    ModelId(str(name), str(version), file['fingerprint'].tobytes()),
                    latents=file['latents'],
                    rois=file['rois'],
                    owners=file['owners'],
                    names=[str(name) for name in file['names']],
                    sizes=file['sizes'],
                    tiled=bool(file['tiled']),
                )
        except FileNotFoundError:
            raise
        except DAMAGED_ARCHIVE as error:
            what = ' '.join(str(error).split()) or type(error).__name__
            raise ValueError(f'{path} is no file of sage encode: {what}') from error


def read_bgr(path: Path) -> np.ndarray:
    """Return the image at `path`, uint8 BGR `[H, W, 3]`; `ValueError` unless that is one."""
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder: give the images in it')
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    data = path.read_bytes()
    require_whole(path, data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} is not an image that OpenCV reads')
    return image


def require_whole(path: Path, data: bytes) -> None:
    """Raise `ValueError` unless all of the image at `path` can be decoded, its file is `data`.

    OpenCV paints gray what a JPEG lacks, and what it cannot read has lines on the terminal.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of tags, which tell nothing of the pixels
            with Image.open(io.BytesIO(data)) as image:
                image.verify()  # check sums, and leaves an image that cannot be loaded
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                mode = image.mode
    except UnidentifiedImageError:
        raise ValueError(f'{path} is not an image that Pillow reads') from None
    except DAMAGED_IMAGE as error:
        raise ValueError(f'{path} is damaged or cut short, get it again: {error}') from error
    if mode == 'F':
        raise ValueError(f'{path} has float pixels: convert it to 8 or 16 bits')


def tiles(width: int, height: int, size: int) -> list[Roi]:
    """Return squares of `size` pixels that cover an image no smaller; the last ones overlap."""

    def starts(side):
        return [*range(0, side - size, size), side - size]

    return [Roi(x, y, size, size) for y in starts(height) for x in starts(width)]


def cut(
    names: Sequence[str], images: Sequence[np.ndarray], size: int, tiled: bool
) -> list[list[Roi]]:
    """Return the squares to encode of each image: its tiles, or the one in its middle.

    Raises `ValueError` for an image that is smaller than a tile.
    """
    rois = []
    for name, image in zip(names, images, strict=True):
        height, width = image.shape[:2]
        if tiled and min(width, height) < size:
            raise ValueError(
                f'{name} has {width}x{height} pixels, smaller than a tile of {size}: '
                'leave --tiles out'
            )
        middle = square_roi((width / 2, height / 2), min(width, height), width, height)
        rois.append(tiles(width, height, size) if tiled else [middle])
    return rois


def crops_of(images: Sequence[np.ndarray], rois: Sequence[Sequence[Roi]], codec: Codec):
    """Return the squares of images as the model takes them, float32 `[N, C, S, S]`."""
    color = 'gray' if codec.input_channels == 1 else 'rgb'
    crops = [
        np.atleast_3d(crop_image(image, roi, codec.input_size, color))
        for image, own in zip(images, rois, strict=True)
        for roi in own
    ]
    return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255


def encode_images(
    codec: Codec, names: Sequence[str], images: Sequence[np.ndarray], tiled: bool
) -> Coded:
    """Return the latents of images, uint8 BGR `[H, W, 3]`."""
    rois = cut(names, images, codec.input_size, tiled)
    flat = [(roi.x, roi.y, roi.width, roi.height) for own in rois for roi in own]
    return Coded(
        model=codec.id,
        latents=codec.encode(crops_of(images, rois, codec)),
        rois=np.array(flat, np.int32),
        owners=np.repeat(np.arange(len(rois)), [len(own) for own in rois]).astype(np.int32),
        names=list(names),
        sizes=np.array([image.shape[:2] for image in images], np.int32),
        tiled=tiled,
    )


def decode_images(codec: Codec, coded: Coded) -> list[np.ndarray]:
    """Return one image, uint8 RGB, for each one encoded: its square, or all of it if tiled.

    Raises `ModelError` if the latents are of another space than the model's, or misshapen.
    """
    if coded.model.fingerprint != codec.id.fingerprint:
        raise ModelError(
            f'the latents were made by {coded.model}, and {codec.id} has another latent space: '
            'give their model with --model'
        )
    if coded.tiled and (coded.rois[:, 2:] != codec.input_size).any():
        raise ModelError(f'tiles for {codec.id} have {codec.input_size} pixels a side')
    return assemble(codec.decode(coded.latents), coded)


def assemble(x: np.ndarray, coded: Coded) -> list[np.ndarray]:
    """Return the images, uint8 RGB, that squares `[N, C, S, S]` in [0, 1] are parts of."""
    parts = to_pixels(x)
    parts = np.repeat(parts, 3, axis=3) if parts.shape[3] == 1 else parts
    if not coded.tiled:
        return list(parts)
    pictures = [np.zeros((height, width, 3), np.uint8) for height, width in coded.sizes]
    for part, (x0, y0, width, height), owner in zip(parts, coded.rois, coded.owners, strict=True):
        pictures[owner][y0 : y0 + height, x0 : x0 + width] = part
    return pictures


def write_image(path: Path, picture: np.ndarray) -> None:
    """Write uint8 RGB in the format that the name says; `ValueError` if it says none."""
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f'{path}: OpenCV writes no such format, name it .png, .jpg or .webp')
    _, data = cv2.imencode(path.suffix, picture[..., ::-1])
    path.write_bytes(data.tobytes())


def parser_of(command: str, description: str) -> Parser:
    """Return a parser of what `encode` and `reconstruct` share."""
    parser = Parser(prog=command, description=description)
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE')
    parser.add_argument('--model', default='tinyvae', help='name or folder (tinyvae)')
    parser.add_argument(
        '--tiles',
        action='store_true',
        help='cover each image at its own scale; else its center square is scaled to fit',
    )
    return parser


@in_one_line('sage encode')
def encode(argv: Sequence[str] | None = None) -> int:
    """Run `sage encode`; return the exit code."""
    parser = parser_of('sage encode', 'Turn images into latents.')
    parser.add_argument('--print', action='store_true', help='write the numbers to the terminal')
    parser.add_argument('-o', '--output', type=Path, metavar='FILE.npz', help='keep the latents')
    args = parser.parse_args(argv)
    if not (args.print or args.output):
        parser.error('give --print, -o FILE.npz, or both')
    codec = load_codec(args.model)
    images = [read_bgr(path) for path in args.images]
    coded = encode_images(codec, [p.name for p in args.images], images, args.tiles)
    if args.output:
        coded.save(args.output)
    if args.print:
        for z, (x, y, width, height), owner in zip(
            coded.latents, coded.rois, coded.owners, strict=True
        ):
            numbers = np.array2string(
                z, precision=3, suppress_small=True, max_line_width=99, threshold=sys.maxsize
            )
            print(f'{coded.names[owner]} {width}x{height}+{x}+{y}\n{numbers}')
    if args.output:
        shape = '×'.join(map(str, coded.latents.shape[1:]))
        print(f'{args.output}: {len(coded.latents)} latents of {shape} numbers by {coded.model}')
    return 0


@in_one_line('sage decode')
def decode(argv: Sequence[str] | None = None) -> int:
    """Run `sage decode`; return the exit code."""
    parser = Parser(prog='sage decode', description='Turn latents into images.')
    parser.add_argument('latents', type=Path, metavar='LATENTS.npz', help='from sage encode')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='GRID.png')
    parser.add_argument('--model', help='name or folder; else the model that made the latents')
    args = parser.parse_args(argv)
    coded = Coded.read(args.latents)
    if not args.model and coded.model.name not in available():
        raise ModelError(
            f'{args.latents}: made by {coded.model}, and no model of this package '
            f'({", ".join(available())}) has that name: give its folder, --model FOLDER'
        )
    codec = load_codec(args.model or coded.model.name)
    try:
        pictures = decode_images(codec, coded)
    except ModelError as error:
        raise ModelError(f'{args.latents}: {error}') from error
    captions = [[name] for name in coded.names]
    write_image(args.output, grid([[picture] for picture in pictures], captions))
    print(f'{args.output}: {len(pictures)} images')
    return 0


@in_one_line('sage reconstruct')
def reconstruct(argv: Sequence[str] | None = None) -> int:
    """Run `sage reconstruct`; return the exit code."""
    parser = parser_of('sage reconstruct', 'Show images above what is left of them.')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='GRID.png')
    args = parser.parse_args(argv)
    columns, captions = [], []
    codec = load_codec(args.model)
    images = [read_bgr(path) for path in args.images]
    names = [path.name for path in args.images]
    coded = encode_images(codec, names, images, args.tiles)
    x = crops_of(images, cut(names, images, codec.input_size, args.tiles), codec)
    pairs = zip(assemble(x, coded), decode_images(codec, coded), strict=True)
    for name, (before, after) in zip(names, pairs, strict=True):
        figures = f'{psnr(before, after):.2f} dB', f'SSIM {ssim(before, after):.3f}'
        columns.append([before, after])
        captions.append([name, *figures])
        print(f'{name}: PSNR {", ".join(figures)}')
    write_image(args.output, grid(columns, captions))
    return 0
