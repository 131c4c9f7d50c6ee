# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Embedded quantization of latents: the encoding EMBEDDED, whose prefixes are coarser latents.

The quantizer is that of ENTROPY_INT8 (`entropy`): the index of a dimension is a multiple of one
step, relative to the contrast of the crop. Here the index is sent in `PASSES`, each of which
divides the step by three: the coarse index k of a dimension stands for the three finer ones
3k − 1, 3k, 3k + 1, whose middle has the same value. A pass sends one of three for each dimension,
with the probability that Student's t distribution gives it within its coarser cell. By the chain
rule all passes together have the length of ENTROPY_INT8, and bytes may be cut off at the end:
what is left decodes to the symbols that it determines, the others stay coarse.

    byte 0   CRC-8 of the following bytes
    byte 1   step of the last pass, `STEPS[byte]`
    byte 2   bit 7: 1 if bytes were cut off; bits 0 to 4: index of the contrast in `CONTRASTS`
    others   range-coded: the coarsest indices of all dimensions, then the passes

Only the entity that signs a latent can cut it, since its signature covers the payload.
"""

from __future__ import annotations

import numpy as np

from sage_perception.codecs.entropy import CONTRASTS, MAX_INDEX, STEPS, EntropyCoder, crc8
from sage_perception.codecs.range_coder import TOTAL_BITS, Decoder, encode

PASSES = 3
HEADER_BYTES = 3
CUT = 0x80
_WIDTHS = tuple(3**n for n in range(PASSES, -1, -1))  # fine indices of a cell, in each pass
_LARGEST = (MAX_INDEX + _WIDTHS[0] // 2) // _WIDTHS[0]
_CONTRAST = len(CONTRASTS) - 1


class EmbeddedCoder:
    """Encodes latents with the statistics and the quantizer of an `EntropyCoder`."""

    def __init__(self, coder: EntropyCoder) -> None:
        self._coder = coder

    def pack(self, z: np.ndarray, step: float) -> bytes:
        """Return a finite latent as bytes; raises `ValueError` for a step as `EntropyCoder`."""
        code, contrast, index = self._coder.quantize(z, step)
        below = self._coder.table(code)[self._coder.rows]
        coarse = _cell(index, _WIDTHS[0])
        edges = below[:, _columns(np.arange(-_LARGEST, _LARGEST + 2), _WIDTHS[0])]
        intervals = _chosen(edges, coarse + _LARGEST)
        for width in _WIDTHS[1:]:
            finer = _cell(index, width)
            intervals += _chosen(_thirds(below, coarse, width), finer - 3 * coarse + 1)
            coarse = finer
        return _sealed(bytes([code, contrast]) + encode(intervals))

    def unpack(self, payload: bytes) -> np.ndarray:
        """Return the latent, float64 `[D]`; raise `ValueError` for any other bytes."""
        dims = self._coder.rows.size
        longest = HEADER_BYTES + len(_WIDTHS) * (dims * TOTAL_BITS + 5) // 8 + 1
        if not HEADER_BYTES <= len(payload) <= longest:
            raise ValueError(
                f'{len(payload)} bytes are not a latent, expected {HEADER_BYTES} to {longest}'
            )
        if payload[0] != crc8(payload[1:]):
            raise ValueError('CRC-8 mismatch: the bytes were altered or are of another encoding')
        code, flags, data = payload[1], payload[2], payload[HEADER_BYTES:]
        if flags & ~(CUT | _CONTRAST):
            raise ValueError(f'byte 2 is {flags:#x}, which is not a contrast')
        below = self._coder.table(code)[self._coder.rows]
        index = _decoded(below, data, bool(flags & CUT))
        return self._coder.value(index, STEPS[code] * CONTRASTS[flags & _CONTRAST])


def cut(payload: bytes, size: int) -> bytes:
    """Return a payload of EMBEDDED cut to at most `size` bytes; its latent is coarser.

    Raises `ValueError` if `size` is less than `HEADER_BYTES`.
    """
    if size < HEADER_BYTES:
        raise ValueError(f'{size} bytes: a latent in encoding EMBEDDED has {HEADER_BYTES} or more')
    if size >= len(payload):
        return payload
    return _sealed(bytes([payload[1], payload[2] | CUT]) + payload[HEADER_BYTES:size])


def _sealed(data: bytes) -> bytes:
    return bytes([crc8(data)]) + data


def _cell(index: np.ndarray, width: int) -> np.ndarray:
    """Return the cells, `width` wide and centered on its multiples, that have fine indices."""
    return (index + width // 2) // width


def _columns(cells: np.ndarray, width: int) -> np.ndarray:
    """Return the columns of the frequencies below the first indices of cells."""
    return (cells * width - width // 2 + MAX_INDEX).clip(0, 2 * MAX_INDEX + 1)


def _thirds(below: np.ndarray, parents: np.ndarray, width: int) -> np.ndarray:
    """Return the edges of the thirds, `width` wide, of a cell for each dimension, int `[D, 4]`.

    They are in units of the frequency of the cell over `1 << TOTAL_BITS`. A third outside of the
    indices is empty.
    """
    cells = 3 * parents[:, None] + np.arange(-1, 3)
    edges = np.take_along_axis(below, _columns(cells, width), axis=1)
    edges -= edges[:, :1]
    return (edges << TOTAL_BITS) // edges[:, 3:]


def _chosen(edges: np.ndarray, place: np.ndarray) -> list[tuple[int, int]]:
    """Return the interval at a place for each dimension."""
    start, end = (
        np.take_along_axis(edges, place[:, None] + offset, axis=1)[:, 0] for offset in (0, 1)
    )
    return list(zip(start.tolist(), (end - start).tolist(), strict=True))


def _decoded(below: np.ndarray, data: bytes, cut_off: bool) -> np.ndarray:
    """Return the fine indices `[D]`; those in the middle of a cell where bytes are missing.

    The missing bytes may be anything: a symbol is determined if zeros and ones give the same.
    """
    decoders = [Decoder(data)]
    if cut_off:
        decoders.append(Decoder(data, b'\xff'))
    index = np.zeros(len(below), int)
    edges = below[:, _columns(np.arange(-_LARGEST, _LARGEST + 2), _WIDTHS[0])]
    first = np.full(len(below), -_LARGEST)
    for width in _WIDTHS:
        for number, row in enumerate(edges):
            places = {int(row.searchsorted(d.position(), 'right')) - 1 for d in decoders}
            if len(places) > 1:
                return index
            place = places.pop()
            start, end = row[place : place + 2].tolist()
            for decoder in decoders:
                decoder.consume(start, end - start)
            index[number] = (first[number] + place) * width
        coarse = index // width
        if width > 1:
            edges, first = _thirds(below, coarse, width // 3), 3 * coarse - 1
    if not cut_off and (decoders[0].rest or data[-1:] == b'\0'):
        raise ValueError('trailing bytes: the latent is of another model')
    return index
