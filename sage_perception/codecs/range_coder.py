# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A range coder: symbols to about as many bits as they are surprising, and back.

After G. N. N. Martin, Range encoding, 1979. A symbol is a part `start … start + size` of
`1 << TOTAL_BITS`, its `size`, at least 1, being its probability. The encoder's low end is one
integer of Python's, which has no end, so that carries need no care. Only integers are used: the
bytes are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable

TOTAL_BITS = 24
_BYTES = 8  # of the decoder's view
_SMALLEST = 1 << 8 * (_BYTES - 1)  # width below which both go on by a byte


def encode(parts: Iterable[tuple[int, int]]) -> bytes:
    """Return the shortest bytes that say these parts `(start, size)`, in this order."""
    low, width, length = 0, 1 << 8 * _BYTES, _BYTES
    for start, size in parts:
        width >>= TOTAL_BITS
        low += start * width
        width *= size
        while width < _SMALLEST:
            low <<= 8
            width <<= 8
            length += 1
    high = low + width - 1
    # From where they differ, high with zeros after it lies between the two; zeros need no byte.
    same = (low ^ high).bit_length() - 1
    return (high >> same << same).to_bytes(length, 'big').rstrip(b'\0')


class Decoder:
    """Reads symbols one after the other: `place()`, then `take(start, size)` of what is there."""

    def __init__(self, data: bytes):
        self._data = data
        self._next = _BYTES
        self._ahead = int.from_bytes(data[:_BYTES].ljust(_BYTES, b'\0'), 'big')
        self._width = 1 << 8 * _BYTES

    def place(self) -> int:
        """Return a number in the next symbol's part."""
        self._width >>= TOTAL_BITS
        return min(self._ahead // self._width, (1 << TOTAL_BITS) - 1)

    def take(self, start: int, size: int) -> None:
        """Go on to the symbol after the one whose part this is."""
        self._ahead -= start * self._width
        self._width *= size
        while self._width < _SMALLEST:
            following = self._data[self._next] if self._next < len(self._data) else 0
            self._ahead = (self._ahead << 8) + following
            self._width <<= 8
            self._next += 1

    @property
    def rest(self) -> bytes:
        """Return what was not looked at: nothing, when all symbols have been taken."""
        return self._data[self._next :]
