# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents as discrete tokens: residual vector quantization with a shared codebook.

Each level quantizes the residual of the levels before to the nearest of K codes (Juang and Gray,
1982); one level is plain vector quantization. The distance is Euclidean in unscaled latents: it is
proportional to the error of the decoded image. `sage codebook` trains one. Needs numpy only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sage_perception.core.files import replacing
from sage_perception.core.latent import ModelId
from sage_perception.core.reading import require_regular
from sage_perception.core.text import one_line
from sage_perception.models import artifact
from sage_perception.models.artifact import ModelError
from sage_perception.models.registry import available

CODEBOOK = 'codebook.safetensors'
MAX_CODES = 2**16  # tokens are uint16
MAX_BATCH = 1024  # latents compared with all codes in one step, which bounds the memory


@dataclass(frozen=True, eq=False)
class Codebook:
    """L levels of K codes of D dimensions, for the latents of one space.

    `levels` is float32 `[L, K, D]`; `fingerprint`, 32 bytes, identifies the latent space
    (`ModelId.fingerprint`). Tokens are uint16 `[B, n]`, n ≤ L; fewer levels give a coarser latent.
    Raises `ModelError` for other shapes, dtypes or values that are not finite.
    """

    levels: np.ndarray
    fingerprint: bytes

    def __post_init__(self) -> None:
        levels = self.levels
        if levels.ndim != 3 or levels.dtype != np.float32 or not levels.size:
            raise ModelError(
                f'a codebook must be float32 [levels, codes, dim], '
                f'not {levels.dtype} {list(levels.shape)}'
            )
        if self.codes > MAX_CODES:
            raise ModelError(
                f'a codebook has at most {MAX_CODES} codes per level, not {self.codes}'
            )
        if not np.isfinite(levels).all():
            raise ModelError('the codebook has values that are not finite: train it again')
        if len(self.fingerprint) != 32:
            raise ModelError(f'a fingerprint must have 32 bytes, not {len(self.fingerprint)}')

    def __repr__(self) -> str:
        depth, codes, dim = self.levels.shape
        return f'<codebook {self.digest.hex()[:8]}: {depth} levels of {codes} codes, {dim}-D>'

    @property
    def depth(self) -> int:
        """Return L, the number of levels."""
        return self.levels.shape[0]

    @property
    def codes(self) -> int:
        """Return K, the number of codes of a level."""
        return self.levels.shape[1]

    @property
    def dim(self) -> int:
        """Return D, the dimensions of a latent."""
        return self.levels.shape[2]

    @property
    def token_bits(self) -> int:
        """Return the bits of a token: n tokens take ⌈n · token_bits / 8⌉ bytes."""
        return max(self.codes - 1, 1).bit_length()

    @cached_property
    def digest(self) -> bytes:
        """Return the SHA-256 of space and codes; tokens are interchangeable if digests are equal.

        A retrained codebook of the same space has other tokens.
        """
        digest = hashlib.sha256(self.fingerprint)
        digest.update(f'{list(self.levels.shape)}\n'.encode())
        digest.update(np.ascontiguousarray(self.levels, '<f4').tobytes())
        return digest.digest()

    def encode(self, z: np.ndarray, levels: int | None = None, beam: int = 1) -> np.ndarray:
        """Return the tokens, uint16 `[B, levels]`, of latents, float `[B, D]`; default all levels.

        `beam` > 1 selects beam search instead of greedy search: a closer latent with the same
        number of tokens, in `beam` times the time. The first tokens of a longer row are then still
        a coarser latent, but not the closest one.
        Raises `ModelError` for other shapes or values that are not finite.
        """
        z = np.asarray(z)
        depth = self.depth if levels is None else levels
        if not 1 <= depth <= self.depth:
            raise ModelError(f'levels is {levels}; it must be 1 to {self.depth}')
        if beam < 1:
            raise ModelError(f'beam is {beam}; it must be at least 1')
        if z.ndim != 2 or z.shape[1] != self.dim or z.dtype.kind != 'f':
            raise ModelError(
                f'this codebook encodes latents, float32 [B, {self.dim}], '
                f'not {z.dtype} {list(z.shape)}'
            )
        z = z.astype(np.float32, copy=False)
        if not np.isfinite(z).all():
            raise ModelError('a latent has values that are not finite: it cannot be encoded')
        tokens = np.empty((len(z), depth), np.uint16)
        batch = max(MAX_BATCH // beam, 1)
        for start in range(0, len(z), batch):
            tokens[start : start + batch] = self._search(z[start : start + batch], depth, beam)
        return tokens

    def _search(self, z: np.ndarray, depth: int, beam: int) -> np.ndarray:
        """Return the best tokens `[B, depth]` of a beam search."""
        count = len(z)
        rows = np.arange(count)[:, None]
        residual = z[:, None]  # [B, beam, D]
        tokens = np.empty((count, 1, 0), np.uint16)
        for level, square in zip(self.levels[:depth], self._squares, strict=False):
            # |residual − code|², without the term that all codes share if there is one hypothesis.
            error = square - 2 * (residual @ level.T)
            if beam > 1:
                error += np.square(residual).sum(2, keepdims=True)
            error = error.reshape(count, -1)
            if beam == 1:
                best = error.argmin(1)[:, None]
            else:
                kept = min(beam, error.shape[1])
                best = np.argpartition(error, kept - 1, axis=1)[:, :kept]
            hypothesis, code = np.divmod(best, self.codes)
            residual = residual[rows, hypothesis] - level[code]
            tokens = np.concatenate(
                (tokens[rows, hypothesis], code[..., None].astype(np.uint16)), axis=2
            )
        return tokens[np.arange(count), np.square(residual).sum(2).argmin(1)]

    @cached_property
    def _squares(self) -> np.ndarray:
        return np.square(self.levels).sum(2)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Return the latents, float32 `[B, D]`, of integer tokens `[B, n]`, 1 ≤ n ≤ L.

        A latent is the sum of the codes of the first n levels. Raises `ModelError` for another
        shape or tokens out of range.
        """
        tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind not in 'ui':
            raise ModelError(
                f'tokens must be integers [B, levels], not {tokens.dtype} {list(tokens.shape)}'
            )
        count = tokens.shape[1]
        if not 1 <= count <= self.depth:
            raise ModelError(f'{count} tokens per latent, this codebook has 1 to {self.depth}')
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.codes:
            wrong = tokens.min() if tokens.min() < 0 else tokens.max()
            raise ModelError(f'token {wrong} is out of range; it must be 0 to {self.codes - 1}')
        z = np.zeros((len(tokens), self.dim), np.float32)
        for level, column in zip(self.levels, tokens.T, strict=False):
            z += level[column]
        return z


def read(folder: Path) -> Codebook | None:
    """Return the codebook in a model folder, None if there is none.

    Raises `ModelError` for a damaged codebook or one of another latent space than the model's.
    """
    path = Path(folder) / CODEBOOK
    if not path.is_file():
        return None
    try:
        require_regular(path, artifact.MAX_FILE_BYTES)
        with safe_open(path, framework='numpy') as file:
            metadata = file.metadata() or {}
            levels = file.get_tensor('levels')
        fingerprint = bytes.fromhex(metadata['fingerprint'])
        digest = metadata['digest']
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror or error}') from error
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f'{path} is not a codebook: {one_line(error)}; train it again') from error
    model = artifact.read(Path(folder)).id
    if fingerprint != model.fingerprint:
        raise ModelError(
            f'{path} is for latent space {fingerprint.hex()[:8]}, the model is {model}: '
            f'train it again, sage codebook {folder} CONFIG'
        )
    codebook = Codebook(levels, fingerprint)
    if codebook.digest.hex() != digest:
        raise ModelError(f'{path} was altered: its codes do not have the digest {digest[:8]}')
    return codebook


def installed(model: ModelId) -> Codebook | None:
    """Return the installed codebook of a model's latent space, None if there is none.

    Prefers the codebook of the model itself over that of another model with the same space. Raises
    `ModelError` as `read` does.
    """
    for _, folder in sorted(available().items(), key=lambda item: item[0] != model.name):
        book = read(folder)
        if book and book.fingerprint == model.fingerprint:
            return book
    return None


def write(folder: Path, codebook: Codebook) -> Path:
    """Write a codebook into the folder of a model with the same latent space; return the file.

    Raises `ModelError` if the model has another latent space.
    """
    folder = Path(folder)
    model = artifact.read(folder).id
    if codebook.fingerprint != model.fingerprint:
        raise ModelError(
            f'the codebook is for latent space {codebook.fingerprint.hex()[:8]}, '
            f'the model in {folder} is {model}'
        )
    metadata = {
        'fingerprint': codebook.fingerprint.hex(),
        'digest': codebook.digest.hex(),
    }
    path = folder / CODEBOOK
    with replacing(path) as part:
        save_file({'levels': np.ascontiguousarray(codebook.levels)}, part, metadata)
    return path
