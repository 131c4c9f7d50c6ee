# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed messages: valid messages with extreme fields, and damaged serialized messages."""

from __future__ import annotations

import random
import re
from array import array
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message

MAX_ELEMENTS = 5000
"""Maximum number of elements that a mutation gives a sequence of numbers."""
MAX_SUBMESSAGES, MAX_TEXTS = 64, 300
MAX_TEXT_BYTES = 100_000
"""Size of a sequence of texts to which no more are added.

The middleware keeps, for each endpoint, buffers as large as its largest message. Without a limit,
ever larger ones would be found, and the memory of all nodes would grow with their logarithm.
"""
TEXTS = (
    '',
    ' ',
    'cam0 ',
    'c\u0430m0',  # Cyrillic а
    '../../etc/passwd',
    '\n\r\t\x1b[31m',
    '\u202egnp.exe',
    '%s%n{0}{camera}',
    'x' * 257,
    'é' * 5000,
    'nan',
    'mono16; step=0',
    '16UC3',
    '64FC4',
    'bayer_rggb8',
    'jpeg compressed',
)
LONG_TEXT = 'f' * 100_000
FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-45, 3.4e38, -3.4e38, 1e30, 0.5)
_INTEGER = re.compile(r'(u?)int(\d+)')
_ARRAY = re.compile(r'(?P<item>[^\[]+)\[(?P<size>\d+)\]')
_SEQUENCE = re.compile(r'sequence<(?P<item>[^,]+?)(?:, (?P<bound>\d+))?>')


class Mutator:
    """Makes malformed messages; the same `seed` makes the same ones."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def typed(self, kind: type, sample: bytes) -> Any:
        """Return a message of type `kind` with some extreme fields.

        `sample` is a serialized valid message, empty for one with default values.
        """
        message = deserialize_message(sample, kind) if sample else kind()
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            self._change(message)
        return message

    def raw(self, message: Any) -> bytes:
        """Return the damaged serialized form of a message."""
        data = bytearray(serialize_message(message))
        place = self.random.randrange(len(data) + 1)
        match self.random.randrange(8):
            case 0:
                del data[place:]
            case 1:
                for _ in range(self.random.choice((1, 1, 4, 32))):
                    data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
            case 2:
                data[place:] = self.random.randbytes(self.random.randrange(512))
            case 3:
                data[:4] = self.random.randbytes(4)  # encapsulation
            case 4:  # lengths stand at multiples of four
                place -= place % 4
                length = self.random.choice((2**32 - 1, 2**31 - 1, 2**24, 65536, 0))
                data[place : place + 4] = length.to_bytes(4, 'little')
            case 5:
                data[place:place] = self.random.randbytes(self.random.randrange(1, 64))
            case 6:
                del data[place : place + self.random.randrange(1, 64)]
            case _:
                data = bytearray(self.random.randbytes(self.random.randrange(256)))
        return bytes(data)

    def _change(self, message: Any) -> None:
        """Change one field of a message, or of a message in it."""
        fields = message.get_fields_and_field_types()
        fields = {name: kind for name, kind in fields.items() if name[0] != '_'}
        if not fields:
            return
        name = self.random.choice(list(fields))
        kind, value = fields[name], getattr(message, name)
        if hasattr(value, 'get_fields_and_field_types'):
            self._change(value)
        elif match := _SEQUENCE.fullmatch(kind):
            self._change_sequence(message, name, match['item'], int(match['bound'] or 0))
        elif match := _ARRAY.fullmatch(kind):
            for index in self._some(int(match['size'])):
                value[index] = self._scalar(match['item'])
        else:
            setattr(message, name, self._scalar(kind))

    def _change_sequence(self, message: Any, name: str, item: str, bound: int) -> None:
        value = getattr(message, name)
        if isinstance(value, list) and value and '/' in item and self.random.random() < 0.7:
            self._change(self.random.choice(value))
            return
        size = self.random.choice((0, 1, len(value) + 1, max(len(value) - 1, 0), len(value)))
        if self.random.random() < 0.2:
            size = bound or self.random.choice((256, 257, MAX_ELEMENTS))
        size = min(size, bound or MAX_ELEMENTS * 200)
        if '/' in item:
            count = min(size, MAX_SUBMESSAGES)
            setattr(
                message, name, [self.random.choice(value) for _ in range(count)] if value else []
            )
        elif isinstance(value, array):
            kept = value[:size]
            kept.extend(array(value.typecode, [0]) * (size - len(kept)))
            for index in self._some(size):
                kept[index] = self._scalar(item)
            setattr(message, name, kept)
        else:
            kept = [*list(value)[:size]]
            size = min(size, len(kept) + MAX_TEXTS)
            while len(kept) < size and sum(map(_size, kept)) <= MAX_TEXT_BYTES:
                kept.append(self._scalar(item))
            setattr(message, name, kept)

    def _some(self, size: int) -> list[int]:
        count = min(size, self.random.choice((0, 1, 1, 3, 20)))
        return [self.random.randrange(size) for _ in range(count)]

    def _scalar(self, kind: str) -> Any:
        """Return an extreme value of a primitive type."""
        if match := _INTEGER.fullmatch(kind):
            bits = int(match[2])
            low, high = (0, 2**bits - 1) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            value = self.random.choice(
                (low, high, 0, 1, -1, -5, 255, 10**9, self.random.randint(low, high))
            )
            return min(max(value, low), high)
        if kind in ('float', 'double'):
            if kind == 'double' and self.random.random() < 0.2:
                return self.random.choice((1e308, -1e308, 5e-324))
            return float(self.random.choice(FLOATS))
        if kind == 'boolean':
            return self.random.random() < 0.5
        if kind == 'octet':
            return self.random.randbytes(1)
        if kind.startswith(('string', 'wstring')):
            bound = re.search(r'<(\d+)>', kind)
            text = LONG_TEXT if self.random.random() < 0.005 else self.random.choice(TEXTS)
            return text[: int(bound[1])] if bound else text
        raise TypeError(f'no values of type {kind}')


def _size(value: Any) -> int:
    """Return the number of bytes of a text, 0 for other values."""
    return len(value.encode()) if isinstance(value, str) else 0
