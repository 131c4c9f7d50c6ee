# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encodings of a latent: the representation of its D values as bytes.

    FLOAT32       4·D bytes, little-endian
    FLOAT16       2·D bytes, little-endian
    INT8          D bytes, fine near the mean and coarse far from it; 2·D + 1 for few latents
    ENTROPY_INT8  variable length; quantized with a step that the bytes contain (`entropy`)
    VQ            a check byte, then the tokens of a codebook
    EMBEDDED      as ENTROPY_INT8, in passes: a prefix is a coarser latent (`embedded`)

A receiver needs the mean and standard deviation of the latents, which a model announces, and for
VQ the same codebook. Every encoding decodes to the same values on every machine.

**INT8.** The signed byte b of a dimension decodes to mean + scale · (u + 3u³) / 4 with u = b / 127
and scale = `RANGE` · √(std · rms of all std). Low-contrast crops, whose latents are near the mean,
show every error: the cubic term reduces the step there to a fourth. Black and white pixels bound
the range of dimensions with a large variance, and dimensions with a small variance have long
tails; therefore the scale grows with the square root of std. On held-out crops, one value in ten
thousand exceeds 6.5 · √(std · rms), the largest is at 8.1, and a uniform white crop is at 7.5.

Few latents are outside the range, or lose visibly within it: those of almost uniform crops, whose
decoded images are nearly exact. If the root mean square of the error exceeds `MAX_ERROR` times the
median of abs(z − mean), the payload is a byte 0x80 and z − mean in FLOAT16 instead. On natural
crops these are 2 in 100 latents; without them, uniform white crops lose 3 to 16 dB
(`bench/wire.py`).

**VQ.** One byte, the CRC-8 of the codebook's digest and the following bytes, rejects tokens of
another codebook. Then the tokens, each in ⌈log₂ K⌉ bits, most significant bit first, padded with
zeros to a whole byte.
"""

from __future__ import annotations

import enum
import math

import numpy as np

from sage_perception.codecs.codebook import Codebook, installed, read
from sage_perception.codecs.embedded import EmbeddedCoder, cut
from sage_perception.codecs.entropy import DEFAULT_STEP, EntropyCoder, crc8
from sage_perception.models.artifact import ModelError
from sage_perception.models.codec import Codec

MAX_FLOAT16 = 65504.0

RANGE = 9.0
MAX_ERROR = 0.05
FINE = b'\x80'
_U = np.arange(-127, 128) / 127
LEVELS = (_U + 3 * _U * _U * _U) / 4  # in [-1, 1], of the bytes -127 … 127
_BETWEEN = (LEVELS[1:] + LEVELS[:-1]) / 2


class PackingError(ValueError):
    """Bytes that are not a latent, or a latent that cannot be encoded."""


class Encoding(enum.IntEnum):
    """Encodings of a latent; the values of the `ENCODING_*` constants of `sage_msgs/Latent`."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT8 = 2
    ENTROPY_INT8 = 3
    VQ = 4
    EMBEDDED = 5


class Packer:
    """Packs latents of one model into bytes and unpacks them.

    `mean` and `std` are the statistics of the model's latents, float32 `[D]`, `std` > 0;
    `codebook` is required for VQ. Payloads of EMBEDDED are cut to `max_bytes` if it is not 0.
    Raises `ValueError` for invalid statistics or a codebook of another dimension.
    """

    def __init__(
        self,
        mean: np.ndarray,
        std: np.ndarray,
        codebook: Codebook | None = None,
        max_bytes: int = 0,
    ):
        self._mean = np.asarray(mean, np.float64)
        std = np.asarray(std, np.float64)
        if self._mean.ndim != 1 or not self._mean.size or std.shape != self._mean.shape:
            raise ValueError(
                f'mean and std of latents must be two float32 [D], '
                f'not {list(self._mean.shape)} and {list(std.shape)}'
            )
        if not (np.isfinite(self._mean).all() and np.isfinite(std).all()):
            raise ValueError('mean or std of the latents is not finite')
        if not (std > 0).all():
            raise ValueError('std of the latents is not above 0 in every dimension')
        if codebook is not None and codebook.dim != self.dim:
            raise ValueError(f'the codebook is for {codebook.dim} dimensions, not {self.dim}')
        self.codebook = codebook
        self._scale = RANGE * np.sqrt(std * np.sqrt(np.square(std).mean()))
        self._entropy = EntropyCoder(self._mean, std)
        self._embedded = EmbeddedCoder(self._entropy)
        self._max_bytes = max_bytes

    @classmethod
    def of(cls, codec: Codec, max_bytes: int = 0) -> Packer:
        """Return the packer of a loaded model.

        Uses the codebook in the model's folder, else the one of an installed model with the same
        latent space. Raises `ModelError` for a damaged codebook or one of another space.
        """
        book = read(codec.artifact.path) or installed(codec.id)
        return cls(codec.latent_mean.ravel(), codec.latent_std.ravel(), book, max_bytes)

    @property
    def dim(self) -> int:
        """Return D, the dimensions of a latent."""
        return self._mean.size

    def pack(self, z: np.ndarray, encoding: Encoding, step: float = DEFAULT_STEP) -> bytes:
        """Return a latent, float32 `[D]`, as bytes.

        `step` applies to ENTROPY_INT8 and EMBEDDED: the quantization step, in units of the
        latent, for a crop of contrast 1; it becomes the nearest of `entropy.STEPS`.
        Raises `PackingError` for another shape, values that are not finite, or no codebook.
        """
        z = np.asarray(z)
        if z.shape != (self.dim,):
            raise PackingError(
                f'latents of this model are float32 [{self.dim}], not {list(z.shape)}'
            )
        if not np.isfinite(z).all():
            raise PackingError('the latent is not finite')
        if encoding == Encoding.FLOAT32:
            return z.astype('<f4').tobytes()
        if encoding == Encoding.FLOAT16:
            return z.clip(-MAX_FLOAT16, MAX_FLOAT16).astype('<f2').tobytes()
        if encoding == Encoding.INT8:
            return self._pack_int8(z)
        if encoding in (Encoding.ENTROPY_INT8, Encoding.EMBEDDED):
            try:
                if encoding == Encoding.ENTROPY_INT8:
                    return self._entropy.pack(z, step)
                complete = self._embedded.pack(z, step)
                return cut(complete, self._max_bytes) if self._max_bytes else complete
            except ValueError as error:
                raise PackingError(str(error)) from None
        if encoding == Encoding.VQ:
            return self._pack_tokens(z)
        raise PackingError(f'unknown encoding {encoding}')

    def unpack(self, payload: bytes, encoding: Encoding) -> np.ndarray:
        """Return the latent, float32 `[D]`, finite, of packed bytes.

        Raises `PackingError` for bytes that are not a latent of this model in this encoding.
        """
        payload = bytes(payload)
        if encoding == Encoding.FLOAT32:
            z = self._values(payload, '<f4')
        elif encoding == Encoding.FLOAT16:
            z = self._values(payload, '<f2')
        elif encoding == Encoding.INT8:
            z = self._unpack_int8(payload)
        elif encoding in (Encoding.ENTROPY_INT8, Encoding.EMBEDDED):
            coder = self._entropy if encoding == Encoding.ENTROPY_INT8 else self._embedded
            try:
                z = coder.unpack(payload)
            except ValueError as error:
                raise PackingError(str(error)) from None
        elif encoding == Encoding.VQ:
            z = self._unpack_tokens(payload)
        else:
            raise PackingError(f'unknown encoding {encoding}')
        with np.errstate(over='ignore'):
            z = z.astype(np.float32)
        if not np.isfinite(z).all():
            raise PackingError('the latent is not finite')
        return z

    def _values(self, payload: bytes, dtype: str) -> np.ndarray:
        size = np.dtype(dtype).itemsize * self.dim
        if len(payload) != size:
            raise PackingError(f'{len(payload)} bytes are not a latent, expected {size}')
        return np.frombuffer(payload, dtype)

    def _pack_int8(self, z: np.ndarray) -> bytes:
        difference = z - self._mean
        index = np.searchsorted(_BETWEEN, difference / self._scale)
        error = LEVELS[index] * self._scale - difference
        if math.sqrt(np.square(error).mean()) > MAX_ERROR * _median(np.abs(difference)):
            fine = difference.clip(-MAX_FLOAT16, MAX_FLOAT16).astype('<f2')
            return FINE + fine.tobytes()
        return (index - 127).astype(np.int8).tobytes()

    def _unpack_int8(self, payload: bytes) -> np.ndarray:
        if payload[:1] == FINE and len(payload) != self.dim:
            return self._mean + self._values(payload[1:], '<f2')
        index = self._values(payload, 'i1').astype(int)
        if index.min() < -127:
            raise PackingError('byte 0x80 is not valid in encoding INT8')
        return self._mean + LEVELS[index + 127] * self._scale

    def _require_codebook(self) -> Codebook:
        if self.codebook is None:
            raise PackingError('encoding VQ needs the codebook of the model: run sage codebook')
        return self.codebook

    def _pack_tokens(self, z: np.ndarray) -> bytes:
        book = self._require_codebook()
        tokens = book.encode(z[None].astype(np.float32))[0].astype(int)
        data = np.packbits(tokens[:, None] >> _shifts(book) & 1).tobytes()
        return bytes([crc8(book.digest + data)]) + data

    def _unpack_tokens(self, payload: bytes) -> np.ndarray:
        book = self._require_codebook()
        count = book.depth * book.token_bits
        size = 1 + (count + 7) // 8
        if len(payload) != size:
            raise PackingError(
                f'{len(payload)} bytes are not a latent, expected {size} with {book}'
            )
        if payload[0] != crc8(book.digest + payload[1:]):
            raise PackingError(f'the tokens were altered or are of another codebook than {book}')
        bits = np.unpackbits(np.frombuffer(payload, np.uint8, offset=1))
        tokens = bits[:count].reshape(book.depth, book.token_bits) @ (1 << _shifts(book))
        if bits[count:].any() or tokens.max() >= book.codes:
            raise PackingError(f'the bits are not tokens of {book}')
        try:
            return book.decode(tokens[None])[0]
        except ModelError as error:
            raise PackingError(str(error)) from error


def _median(values: np.ndarray) -> float:
    """Return the median of finite values `[N]`; several times faster than `np.median`."""
    upper = values.size // 2
    lower = (values.size - 1) // 2
    ordered = np.partition(values, (lower, upper))
    return float(ordered[lower] + ordered[upper]) / 2


def _shifts(book: Codebook) -> np.ndarray:
    return np.arange(book.token_bits)[::-1]
