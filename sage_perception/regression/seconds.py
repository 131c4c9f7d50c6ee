# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The serialized seconds of a stream; all but the newest are compressed, in blocks of a minute."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

BLOCK = 64
"""Number of seconds that are compressed together."""
OPEN_BLOCKS = 2
"""Number of blocks that are not compressed: seconds are set a little out of order."""


class Seconds:
    """A mapping from seconds to texts, ordered by second, for hours of seconds."""

    def __init__(self) -> None:
        self._open: dict[int, dict[int, str]] = {}
        self._packed: dict[int, bytes] = {}

    def __setitem__(self, second: int, text: str) -> None:
        key = second // BLOCK
        if key not in self._open:
            self._open[key] = self._unpacked(key)
            self._packed.pop(key, None)
        self._open[key][second] = text
        for old in sorted(self._open)[:-OPEN_BLOCKS]:
            content = json.dumps([*self._open.pop(old).items()])
            self._packed[old] = zlib.compress(content.encode())

    def get(self, second: int) -> str | None:
        """Return the text of a second, None without one."""
        return self._block(second // BLOCK).get(second)

    def items(self) -> Iterator[tuple[int, str]]:
        """Yield the seconds in order, with their texts."""
        for key in sorted({*self._open, *self._packed}):
            yield from sorted(self._block(key).items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seconds) and [*self.items()] == [*other.items()]

    __hash__ = None  # type: ignore[assignment]

    def _block(self, key: int) -> dict[int, str]:
        return self._open[key] if key in self._open else self._unpacked(key)

    def _unpacked(self, key: int) -> dict[int, str]:
        packed = self._packed.get(key)
        return {} if packed is None else dict(json.loads(zlib.decompress(packed)))
