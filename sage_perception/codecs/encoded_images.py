# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The latents of images with the squares that they encode, as a NumPy archive.

`sage encode` writes such an archive and `sage decode` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.core.npz_file import read_npz, write_npz

MAX_ARCHIVE_BYTES = 1 << 30
"""Limit on the uncompressed size of an archive, which a small file could exceed by far."""


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Latents of squares of images.

    `latents` is float32 `[N, …]`; `rois` int32 `[N, 4]` the squares (x, y, width, height), pixels;
    `owners` int32 `[N]` the index of the image of each. `names` and `sizes` (int32 `[P, 2]`,
    height and width) are of the P images. `tiled` distinguishes tiles that cover each image from
    one center square per image.

    Raises `ValueError` for values that encoding images cannot yield.
    """

    model: ModelId
    latents: np.ndarray
    rois: np.ndarray
    owners: np.ndarray
    names: list[str]
    sizes: np.ndarray
    tiled: bool

    def __post_init__(self) -> None:
        shape = list(self.latents.shape)
        if self.latents.dtype != np.float32 or len(shape) < 2 or not self.latents.size:
            raise ValueError(f'latents must be float32 [N, …], not {self.latents.dtype} {shape}')
        if not np.isfinite(self.latents).all():
            raise ValueError('a latent has a value that is not finite')
        count, images = len(self.latents), len(self.names)
        expected = {'rois': (count, 4), 'owners': (count,), 'sizes': (images, 2)}
        for name, dims in expected.items():
            array = getattr(self, name)
            if array.dtype != np.int32 or array.shape != dims:
                raise ValueError(
                    f'{name} of {count} latents of {images} images must be int32 {list(dims)}, '
                    f'not {array.dtype} {list(array.shape)}'
                )
        owners = np.unique(self.owners) if self.tiled else self.owners
        if not np.array_equal(owners, np.arange(images)):
            raise ValueError(f'owners must be the indices 0 to {images - 1} of the images')
        corner, extent = np.split(self.rois.astype(np.int64), 2, axis=1)
        frame = self.sizes[self.owners, ::-1]
        if (corner < 0).any() or (extent < 1).any() or (corner + extent > frame).any():
            raise ValueError('a square of rois is not inside its image')
        covered = np.bincount(self.owners, extent.prod(1))
        if self.tiled and (covered < self.sizes.prod(1, dtype=np.int64)).any():
            raise ValueError('the tiles of an image are too few to cover it')

    def save(self, path: Path) -> None:
        """Write a NumPy archive (.npz), atomically. Raises `OSError`."""
        arrays = {
            'model': np.array([self.model.name, self.model.version]),
            'fingerprint': np.frombuffer(self.model.fingerprint, np.uint8),
            'latents': self.latents,
            'rois': self.rois,
            'owners': self.owners,
            'names': np.array(self.names),
            'sizes': self.sizes,
            'tiled': np.array(self.tiled),
        }
        write_npz(path, arrays, compressed=True)

    @classmethod
    def read(cls, path: Path) -> EncodedImages:
        """Read an archive of `save`; raise `ValueError` for any other or damaged file."""
        try:
            arrays = read_npz(path, MAX_ARCHIVE_BYTES)
            name, version = arrays['model']
            return cls(
                ModelId(str(name), str(version), arrays['fingerprint'].tobytes()),
                latents=arrays['latents'],
                rois=arrays['rois'],
                owners=arrays['owners'],
                names=[str(name) for name in arrays['names']],
                sizes=arrays['sizes'],
                tiled=bool(arrays['tiled']),
            )
        except KeyError as error:
            raise ValueError(f'{path} is not a file of sage encode: it has no {error}') from error
        except (ValueError, TypeError) as error:
            raise ValueError(f'{path} is not a file of sage encode: {error}') from error
