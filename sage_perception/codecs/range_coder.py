# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A range coder: encodes symbols in about as many bits as their information content.

After G. N. N. Martin, Range encoding, 1979. A symbol is an interval `start … start + size` of
`1 << TOTAL_BITS`; its probability is proportional to `size`, at least 1. The low end of the
encoder is one Python integer of unlimited length, so carries need no special handling. Only
integer arithmetic is used: the bytes are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable

TOTAL_BITS = 24
_WINDOW = 8  # bytes of the decoder's window
_MIN_WIDTH = 1 << 8 * (_WINDOW - 1)  # width below which encoder and decoder shift by one byte


def encode(intervals: Iterable[tuple[int, int]]) -> bytes:
    """Return the shortest bytes that encode the intervals `(start, size)`, in this order."""
    low, width, length = 0, 1 << 8 * _WINDOW, _WINDOW
    for start, size in intervals:
        width >>= TOTAL_BITS
        low += start * width
        width *= size
        while width < _MIN_WIDTH:
            low <<= 8
            width <<= 8
            length += 1
    high = low + width - 1
    # `high` with zeros after the common prefix lies between both; trailing zeros are omitted.
    free = (low ^ high).bit_length() - 1
    return (high >> free << free).to_bytes(length, 'big').rstrip(b'\0')


class Decoder:
    """Decodes one symbol after the other: `position()`, then `consume(start, size)`.

    `fill`, one byte, is what follows the end of the data.
    """

    def __init__(self, data: bytes, fill: bytes = b'\0'):
        self._data, self._fill = data, fill[0]
        self._next = _WINDOW
        self._ahead = int.from_bytes(data[:_WINDOW].ljust(_WINDOW, fill), 'big')
        self._width = 1 << 8 * _WINDOW

    def position(self) -> int:
        """Return a position within the interval of the next symbol."""
        self._width >>= TOTAL_BITS
        return min(self._ahead // self._width, (1 << TOTAL_BITS) - 1)

    def consume(self, start: int, size: int) -> None:
        """Advance past the symbol with this interval."""
        self._ahead -= start * self._width
        self._width *= size
        while self._width < _MIN_WIDTH:
            following = self._data[self._next] if self._next < len(self._data) else self._fill
            self._ahead = (self._ahead << 8) + following
            self._width <<= 8
            self._next += 1

    @property
    def rest(self) -> bytes:
        """Return the unread bytes; empty once all symbols are decoded."""
        return self._data[self._next :]
