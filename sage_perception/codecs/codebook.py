# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents as discrete tokens: residual vector quantization with a shared codebook.

Level by level the nearest of K codes is taken off what the levels before left over (Juang and
Gray, 1982); one level is plain vector quantization. Nearest is Euclidean in the latents as they
are: their dimensions vary as much as what they paint, so that this is the decoded error.
`sage codebook` trains one. Needs numpy only.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sage_perception.core.latent import ModelId
from sage_perception.models import artifact as artifact
from sage_perception.models.artifact import ModelError
from sage_perception.models.registry import available

CODEBOOK = 'codebook.safetensors'
MOST = 1024  # latents compared with the codes at once, which bounds the memory


@dataclass(frozen=True, eq=False)
class Codebook:
    """L levels of K codes with D numbers, for the latents of one space.

    `levels` is float32 `[L, K, D]`; `fingerprint` has 32 bytes and identifies the latent space
    (`ModelId.fingerprint`). Tokens are uint16 `[B, n]`, n ≤ L; fewer levels are a coarser latent.
    """

    levels: np.ndarray
    fingerprint: bytes

    def __post_init__(self):
        levels = self.levels
        if levels.ndim != 3 or levels.dtype != np.float32 or not levels.size:
            raise ModelError(
                f'a codebook is float32 [levels, codes, dim], '
                f'not {levels.dtype} {list(levels.shape)}'
            )
        if self.codes > 2**16:
            raise ModelError(f'a codebook has at most 65536 codes a level, not {self.codes}')
        if not np.isfinite(levels).all():
            raise ModelError('a codebook holds codes that are not finite: train it again')
        if len(self.fingerprint) != 32:
            raise ModelError(f'a fingerprint has 32 bytes, not {len(self.fingerprint)}')

    def __repr__(self):
        depth, codes, dim = self.levels.shape
        return f'<codebook {self.digest.hex()[:8]}: {depth} levels of {codes} codes, {dim}-D>'

    @property
    def depth(self) -> int:
        """Return L, the number of levels."""
        return self.levels.shape[0]

    @property
    def codes(self) -> int:
        """Return K, the codes of a level."""
        return self.levels.shape[1]

    @property
    def dim(self) -> int:
        """Return D, the numbers of a latent."""
        return self.levels.shape[2]

    @property
    def token_bits(self) -> int:
        """Return how many bits tell a token: n tokens take ⌈n · token_bits / 8⌉ bytes."""
        return max(self.codes - 1, 1).bit_length()

    @cached_property
    def digest(self) -> bytes:
        """Return the SHA-256 over space and codes: equal digests, equal meaning of tokens.

        A codebook that is trained again speaks of the same space in other tokens.
        """
        digest = hashlib.sha256(self.fingerprint)
        digest.update(f'{list(self.levels.shape)}\n'.encode())
        digest.update(np.ascontiguousarray(self.levels, '<f4').tobytes())
        return digest.digest()

    def encode(self, z: np.ndarray, levels: int | None = None, beam: int = 1) -> np.ndarray:
        """Return the tokens, uint16 `[B, levels]`, of latents, float `[B, D]`; default all levels.

        With `beam` > 1 so many best beginnings are followed instead of the nearest code alone:
        for as many tokens a nearer latent, in `beam` times the time. Fewer tokens of a
        longer row are then still a coarser latent, but not the nearest one.
        Raises `ModelError` for other shapes and numbers that are not finite.
        """
        z = np.asarray(z)
        depth = self.depth if levels is None else levels
        if not 1 <= depth <= self.depth:
            raise ModelError(f'levels is {levels}; this codebook has 1 to {self.depth}')
        if beam < 1:
            raise ModelError(f'beam is {beam}; at least 1 beginning is followed')
        if z.ndim != 2 or z.shape[1] != self.dim or z.dtype.kind != 'f':
            raise ModelError(
                f'this codebook takes latents as float32 [B, {self.dim}], '
                f'not {z.dtype} {list(z.shape)}'
            )
        z = z.astype(np.float32, copy=False)
        if not np.isfinite(z).all():
            raise ModelError('a latent holds numbers that are not finite: it has no token')
        tokens = np.empty((len(z), depth), np.uint16)
        most = max(MOST // beam, 1)
        for start in range(0, len(z), most):
            tokens[start : start + most] = self._search(z[start : start + most], depth, beam)
        return tokens

    def _search(self, z: np.ndarray, depth: int, beam: int) -> np.ndarray:
        """Return the best tokens `[B, depth]` found while `beam` beginnings are kept."""
        count = len(z)
        rows = np.arange(count)[:, None]
        left = z[:, None]  # [B, beginnings, D]: what each beginning leaves over
        tokens = np.empty((count, 1, 0), np.uint16)
        for level, square in zip(self.levels[:depth], self._squares, strict=False):
            # |left − code|², but for the part that all codes share when there is one beginning.
            error = square - 2 * (left @ level.T)
            if beam > 1:
                error += np.square(left).sum(2, keepdims=True)
            error = error.reshape(count, -1)
            if beam == 1:
                best = error.argmin(1)[:, None]
            else:
                kept = min(beam, error.shape[1])
                best = np.argpartition(error, kept - 1, axis=1)[:, :kept]
            beginning, code = np.divmod(best, self.codes)
            left = left[rows, beginning] - level[code]
            tokens = np.concatenate(
                (tokens[rows, beginning], code[..., None].astype(np.uint16)), axis=2
            )
        return tokens[np.arange(count), np.square(left).sum(2).argmin(1)]

    @cached_property
    def _squares(self) -> np.ndarray:
        return np.square(self.levels).sum(2)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Return the latents, float32 `[B, D]`, of whole tokens `[B, n]`, 1 ≤ n ≤ L.

        The first n levels are summed. Raises `ModelError` for another shape or no such code.
        """
        tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind not in 'ui':
            raise ModelError(
                f'tokens are whole numbers [B, levels], not {tokens.dtype} {list(tokens.shape)}'
            )
        count = tokens.shape[1]
        if not 1 <= count <= self.depth:
            raise ModelError(f'{count} tokens a latent; this codebook has 1 to {self.depth}')
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.codes:
            wrong = tokens.min() if tokens.min() < 0 else tokens.max()
            raise ModelError(f'token {wrong} is none: this codebook has 0 to {self.codes - 1}')
        z = np.zeros((len(tokens), self.dim), np.float32)
        for level, column in zip(self.levels, tokens.T, strict=False):
            z += level[column]
        return z


def read(folder: Path) -> Codebook | None:
    """Return the codebook in a model folder, None if it holds none.

    Raises `ModelError` if it is damaged or was trained for another latent space than the model's.
    """
    path = Path(folder) / CODEBOOK
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework='numpy') as file:
            metadata = file.metadata() or {}
            levels = file.get_tensor('levels')
        fingerprint = bytes.fromhex(metadata['fingerprint'])
        digest = metadata['digest']
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f'{path} is no codebook: {error}; train it again') from error
    model = artifact.read(Path(folder)).id
    if fingerprint != model.fingerprint:
        raise ModelError(
            f'{path} is for the latent space {fingerprint.hex()[:8]}, the model is {model}: '
            f'train it again, sage codebook {folder} CONFIG'
        )
    codebook = Codebook(levels, fingerprint)
    if codebook.digest.hex() != digest:
        raise ModelError(f'{path} was altered: its codes do not have the digest {digest[:8]}')
    return codebook


def installed(model: ModelId) -> Codebook | None:
    """Return the codebook of a model's latent space, None unless it is installed here.

    It comes with the model or with another one of the same space. Raises `ModelError` as `read`
    does.
    """
    for _, folder in sorted(available().items(), key=lambda item: item[0] != model.name):
        book = read(folder)
        if book and book.fingerprint == model.fingerprint:
            return book
    return None


def write(folder: Path, codebook: Codebook) -> Path:
    """Write a codebook into the folder of the model whose latents it is for; return the file.

    Raises `ModelError` if the model has another latent space.
    """
    folder = Path(folder)
    model = artifact.read(folder).id
    if codebook.fingerprint != model.fingerprint:
        raise ModelError(
            f'the codebook is for the latent space {codebook.fingerprint.hex()[:8]}, '
            f'the model in {folder} is {model}'
        )
    metadata = {
        'fingerprint': codebook.fingerprint.hex(),
        'digest': codebook.digest.hex(),
    }
    path = folder / CODEBOOK
    part = path.with_suffix('.part')
    save_file({'levels': np.ascontiguousarray(codebook.levels)}, part, metadata)
    part.chmod(0o644)  # safetensors writes files that only their owner reads
    os.replace(part, path)
    return path
