# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Wire forms of a latent: how its D numbers travel as bytes.

    FLOAT32       4·D bytes, little-endian
    FLOAT16       2·D bytes, little-endian
    INT8          D bytes, fine near the mean and coarse far from it
    ENTROPY_INT8  as many as the latent needs; exact to a step that travels along
    VQ            a check byte, and the tokens of a codebook

Mean and standard deviation of the latents, which a model announces, are all that a receiver
needs; for VQ also the same codebook. Every form comes out the same on every machine: the models
behind ENTROPY_INT8 are made of +, −, ·, / and √ alone, which IEEE 754 rounds correctly.

**INT8.** Byte b, signed, of a dimension is mean + scale · (u + 3u³) / 4 with u = b / 127 and
scale = `RANGE` · √(std · rms of all std). Flat crops, whose latents are near the mean, show every
error: the cube makes its steps a fourth there. Dimensions that vary much are bounded by black and
white, those that vary little have long tails, hence the root: of crops that training did not see
one number in ten thousand is beyond 6.5 such units and the farthest at 8.1, an all white crop at
7.5. What is beyond the range comes back to its end.

**ENTROPY_INT8.** Distances between latents are distances between images, so one step for all
dimensions costs the fewest bytes (reverse water-filling; Cover and Thomas, 10.3.3). The step is
taken relative to the contrast of the crop, the mean of |z − mean| / std: what is lost then stays
in proportion to what the model itself loses, small in flat crops and large in rich ones, which for
as many bytes about halves the loss of PSNR. Each index is coded under Student's t distribution
with 4 degrees of freedom and the scale contrast · std, std being rounded to 5 bits. On crops that
training did not see it is shorter than the Gaussian and the Laplace distribution
(`bench/wire.py`), and its cumulative distribution has no transcendental function in it.

    byte 0   CRC-8 of the bytes that follow, polynomial x⁸ + x² + x + 1
    byte 1   step, `STEPS[byte]`
    others   range-coded: the place of the contrast in `CONTRASTS`, all equally likely, then the
             index of each dimension, (z − mean) / (step · contrast); no zero bytes at the end

**VQ.** A byte, the CRC-8 of the codebook's digest and the bytes that follow: tokens of another
codebook would mean something else. Then the tokens, each in ⌈log₂ K⌉ bits, the first bit first,
and zeros up to the next byte.
"""

from __future__ import annotations

import enum
from functools import lru_cache, reduce

import numpy as np

from sage_perception.codecs.codebook import Codebook, installed, read
from sage_perception.codecs.range_coder import TOTAL_BITS, Decoder, encode
from sage_perception.models.artifact import ModelError
from sage_perception.models.codec import Codec

MAX_FLOAT16 = 65504.0

RANGE = 9.0
_U = np.arange(-127, 128) / 127
LEVELS = (_U + 3 * _U * _U * _U) / 4  # in [-1, 1], of the bytes -127 … 127

# The numbers a byte, and five bits, can say: of each octave 8, and 4.
STEPS = np.ldexp(8.0 + np.arange(256) % 8, np.arange(256) // 8 - 20)
CONTRASTS = np.ldexp(4.0 + np.arange(32) % 4, np.arange(32) // 4 - 6)
DEFAULT_STEP = 0.171875  # loses less than 0.1 dB: bench/wire.py

LAST = 1023  # Indices go from -LAST to LAST.
CONTRAST_SIZE = (1 << TOTAL_BITS) // len(CONTRASTS)


class PackingError(ValueError):
    """Bytes that are no latent, or a latent that cannot be made into bytes."""


class Encoding(enum.IntEnum):
    """How a latent travels; the values of `sage_msgs/Latent`'s ENCODING_ constants."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT8 = 2
    ENTROPY_INT8 = 3
    VQ = 4


class Packer:
    """Packs latents of one model into bytes, and unpacks them.

    `mean` and `std` are those of the model's latents, float32 `[D]`, `std` > 0; `codebook` is what
    VQ needs. Raises `ValueError` for statistics that cannot be.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray, codebook: Codebook | None = None):
        self._mean = np.asarray(mean, np.float64)
        self._std = np.asarray(std, np.float64)
        if self._mean.ndim != 1 or not self._mean.size or self._std.shape != self._mean.shape:
            raise ValueError(
                f'mean and std of latents are two float32 [D], '
                f'not {list(self._mean.shape)} and {list(self._std.shape)}'
            )
        if not (np.isfinite(self._mean).all() and np.isfinite(self._std).all()):
            raise ValueError('mean or std of the latents is not finite')
        if not (self._std > 0).all():
            raise ValueError('std of the latents is not above 0 in every dimension')
        if codebook is not None and codebook.dim != self.dim:
            raise ValueError(f'the codebook is for {codebook.dim} dimensions, not {self.dim}')
        self.codebook = codebook
        rms = np.sqrt(np.square(self._std).mean())
        self._scale = RANGE * np.sqrt(self._std * rms)
        # Sixteen widths an octave are fine enough; dimensions then share the rows of a table.
        mantissa, exponent = np.frexp(self._std)
        widths = np.ldexp(np.rint(mantissa * 32) / 32, exponent)
        self._widths, self._rows = np.unique(widths, return_inverse=True)
        # A table is large; whoever speaks to us keeps to one step.
        self._table = lru_cache(maxsize=2)(self._frequencies)

    @classmethod
    def of(cls, codec: Codec) -> Packer:
        """Return the packer of a loaded model.

        Its codebook is the one in the model's folder, else the one that a model of this package
        has for the same latents. Raises `ModelError` for one that is damaged or of other latents.
        """
        book = read(codec.artifact.path) or installed(codec.id)
        return cls(codec.latent_mean.ravel(), codec.latent_std.ravel(), book)

    @property
    def dim(self) -> int:
        """Return D, the numbers of a latent."""
        return self._mean.size

    def pack(self, z: np.ndarray, form: Encoding, step: float = DEFAULT_STEP) -> bytes:
        """Return a latent, float32 `[D]`, as bytes.

        `step` is for ENTROPY_INT8: in units of the latent, for a crop of contrast 1; it becomes
        the nearest of `STEPS`. What a form cannot reach is brought back to its range.
        Raises `PackingError` for another shape, values that are not finite, or no codebook.
        """
        z = np.asarray(z)
        if z.shape != (self.dim,) or not np.isfinite(z).all():
            wrong = f'not {list(z.shape)}' if z.shape != (self.dim,) else 'and finite'
            raise PackingError(f'a latent of this model is float32 [{self.dim}], {wrong}')
        if form == Encoding.FLOAT32:
            return z.astype('<f4').tobytes()
        if form == Encoding.FLOAT16:
            return z.clip(-MAX_FLOAT16, MAX_FLOAT16).astype('<f2').tobytes()
        if form == Encoding.INT8:
            return self._pack_int8(z)
        if form == Encoding.ENTROPY_INT8:
            return self._pack_entropy(z, step)
        if form == Encoding.VQ:
            return self._pack_tokens(z)
        raise PackingError(f'there is no wire form {form}')

    def unpack(self, payload: bytes, form: Encoding) -> np.ndarray:
        """Return the latent, float32 `[D]`, finite, that was packed.

        Raises `PackingError` for bytes that are no latent of this model in this form.
        """
        payload = bytes(payload)
        if form == Encoding.FLOAT32:
            z = self._numbers(payload, '<f4')
        elif form == Encoding.FLOAT16:
            z = self._numbers(payload, '<f2')
        elif form == Encoding.INT8:
            z = self._unpack_int8(payload)
        elif form == Encoding.ENTROPY_INT8:
            z = self._unpack_entropy(payload)
        elif form == Encoding.VQ:
            z = self._unpack_tokens(payload)
        else:
            raise PackingError(f'there is no wire form {form}')
        with np.errstate(over='ignore'):
            z = z.astype(np.float32)
        if not np.isfinite(z).all():
            raise PackingError('the latent is not finite')
        return z

    def _numbers(self, payload: bytes, kind: str) -> np.ndarray:
        size = np.dtype(kind).itemsize * self.dim
        if len(payload) != size:
            raise PackingError(f'{len(payload)} bytes are no latent: it takes {size} in this form')
        return np.frombuffer(payload, kind)

    def _pack_int8(self, z: np.ndarray) -> bytes:
        between = (LEVELS[1:] + LEVELS[:-1]) / 2
        place = np.searchsorted(between, (z - self._mean) / self._scale)
        return (place - 127).astype(np.int8).tobytes()

    def _unpack_int8(self, payload: bytes) -> np.ndarray:
        index = self._numbers(payload, 'i1').astype(int)
        if index.min() < -127:
            raise PackingError('byte 0x80 is no number in this form')
        return self._mean + LEVELS[index + 127] * self._scale

    # ENTROPY_INT8

    def _pack_entropy(self, z: np.ndarray, step: float) -> bytes:
        if not 0 < step < np.inf:
            raise PackingError(f'step is {step}; it must be above 0 and finite')
        code = _nearest(STEPS, step)
        apart = z - self._mean
        contrast = _nearest(CONTRASTS, (np.abs(apart) / self._std).mean())
        # A plain crop of an extreme color would have indices beyond LAST: a coarser step then.
        while contrast < len(CONTRASTS) - 1 and (
            np.abs(apart).max() > LAST * STEPS[code] * CONTRASTS[contrast]
        ):
            contrast += 1
        index = np.rint(apart / (STEPS[code] * CONTRASTS[contrast]))
        column = index.clip(-LAST, LAST).astype(int) + LAST
        below = self._table(code)
        starts = below[self._rows, column]
        sizes = below[self._rows, column + 1] - starts
        parts = [(contrast * CONTRAST_SIZE, CONTRAST_SIZE)]
        parts += zip(starts.tolist(), sizes.tolist(), strict=True)
        data = bytes([code]) + encode(parts)
        return bytes([_crc8(data)]) + data

    def _unpack_entropy(self, payload: bytes) -> np.ndarray:
        longest = 3 + (self.dim * TOTAL_BITS + 5) // 8
        if not 2 <= len(payload) <= longest:
            raise PackingError(f'{len(payload)} bytes are no latent: it takes 2 to {longest} here')
        check, code = payload[:2]
        if check != _crc8(payload[1:]):
            raise PackingError('the check byte does not fit the others: they were altered')
        decoder = Decoder(payload[2:])
        contrast = decoder.place() // CONTRAST_SIZE
        decoder.take(contrast * CONTRAST_SIZE, CONTRAST_SIZE)
        index = np.empty(self.dim)
        below = self._table(code)
        for i, row in enumerate(self._rows):
            column = int(below[row].searchsorted(decoder.place(), 'right')) - 1
            start, end = below[row, column : column + 2].tolist()
            decoder.take(start, end - start)
            index[i] = column - LAST
        if decoder.rest or (len(payload) > 2 and not payload[-1]):
            raise PackingError('bytes are left over: they are no latent of this model')
        return self._mean + index * (STEPS[code] * CONTRASTS[contrast])

    def _frequencies(self, code: int) -> np.ndarray:
        """Return where the parts of the indices -LAST … LAST begin, and the last ends.

        One row for each of `_widths`. The first and the last bin go on for ever; no part is
        empty.
        """
        edges = np.arange(-LAST + 1, LAST + 1) - 0.5
        x = edges * (STEPS[code] / self._widths)[:, None]
        w = 1 + x * x / 4
        r = x / np.sqrt(w)
        below = 0.5 + 0.375 * r * (1 - r * r / 12)
        share = (1 << TOTAL_BITS) - (2 * LAST + 1)
        table = np.empty((len(x), 2 * LAST + 2), np.int64)
        table[:, 0], table[:, -1] = 0, share
        # Far out, where it hardly grows any more, rounding may let it fall by a hair.
        table[:, 1:-1] = np.maximum.accumulate(np.floor(below.clip(0, 1) * share), axis=1)
        return table + np.arange(2 * LAST + 2)

    # VQ

    def _require_codebook(self) -> Codebook:
        if self.codebook is None:
            raise PackingError('encoding VQ needs the codebook of the model: run sage codebook')
        return self.codebook

    def _pack_tokens(self, z: np.ndarray) -> bytes:
        book = self._require_codebook()
        tokens = book.encode(z[None].astype(np.float32))[0].astype(int)
        data = np.packbits(tokens[:, None] >> _bit_places(book) & 1).tobytes()
        return bytes([_crc8(book.digest + data)]) + data

    def _unpack_tokens(self, payload: bytes) -> np.ndarray:
        book = self._require_codebook()
        count = book.depth * book.token_bits
        size = 1 + (count + 7) // 8
        if len(payload) != size:
            raise PackingError(f'{len(payload)} bytes are no latent: with {book} it takes {size}')
        if payload[0] != _crc8(book.digest + payload[1:]):
            raise PackingError(f'tokens of another codebook than {book}, or altered ones')
        bits = np.unpackbits(np.frombuffer(payload, np.uint8, offset=1))
        tokens = bits[:count].reshape(book.depth, book.token_bits) @ (1 << _bit_places(book))
        if bits[count:].any() or tokens.max() >= book.codes:
            raise PackingError(f'bits that are no tokens of {book}')
        try:
            return book.decode(tokens[None])[0]
        except ModelError as error:
            raise PackingError(str(error)) from error


def _bit_places(book: Codebook) -> np.ndarray:
    return np.arange(book.token_bits)[::-1]


def _nearest(numbers: np.ndarray, wanted: float) -> int:
    """Return the place of the number whose ratio to `wanted` is nearest to 1."""
    with np.errstate(divide='ignore'):
        return int(np.abs(np.log(numbers) - np.log(wanted)).argmin())


def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(crc << 1) ^ (0x107 if crc & 0x80 else 0) for crc in table]
    return table


_CRC_TABLE = _crc_table()


def _crc8(data: bytes) -> int:
    return reduce(lambda crc, byte: _CRC_TABLE[crc ^ byte], data, 0)
