# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Type and range checks for values read from a database.

Each function returns the value in the type that `sage_msgs` expects, or raises `DamagedRow` with
its name, the value and the expected type or range.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Container, Mapping
from typing import Any, TypeVar

MAX_UINT16, MAX_UINT32, MAX_UINT64 = 2**16 - 1, 2**32 - 1, 2**64 - 1
MAX_SHOWN = 60  # characters of a wrong value in an error text

Enum = TypeVar('Enum', bound=enum.IntEnum)


class DamagedRow(ValueError):
    """A row that does not hold a valid memory record."""


def text(value: Any, name: str) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise _wrong(value, name, 'text')
    return value


def integer(value: Any, name: str, maximum: int) -> int:
    """Return an integer in [0, `maximum`]; a bool is not one."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise _wrong(value, name, f'an integer from 0 to {maximum}')
    return value


def boolean(value: Any, name: str) -> bool:
    """Return a bool."""
    if not isinstance(value, bool):
        raise _wrong(value, name, 'true or false')
    return value


def number(value: Any, name: str) -> float:
    """Return a finite number as a float; JSON may hold an integer there."""
    if type(value) not in (int, float) or not abs(value) < math.inf:
        raise _wrong(value, name, 'a finite number')
    try:
        return float(value)
    except OverflowError:
        raise _wrong(value, name, 'a finite number') from None


def probability(value: Any, name: str) -> float:
    """Return a number in [0, 1] as a float."""
    checked = number(value, name)
    if not 0 <= checked <= 1:
        raise _wrong(value, name, 'a number from 0 to 1')
    return checked


def member(kind: type[Enum], value: Any, name: str) -> Enum:
    """Return the member of an enumeration with an integer value."""
    if type(value) is int:
        for each in kind:
            if each == value:
                return each
    raise _wrong(value, name, f'a value of {kind.__name__}')


def blob(value: Any, name: str, length: int | None = None) -> bytes:
    """Return bytes, of the given length if any."""
    if not isinstance(value, bytes) or length not in (None, len(value)):
        raise _wrong(value, name, 'bytes' if length is None else f'{length} bytes')
    return value


def from_hex(value: Any, name: str, lengths: Container[int]) -> bytes:
    """Return the bytes of a hexadecimal string; their number must be in `lengths`."""
    digits = text(value, name)
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise _wrong(value, name, 'hexadecimal digits') from None
    if len(data) not in lengths:
        raise _wrong(value, name, 'hexadecimal digits of another length')
    return data


def items(value: Any, name: str, minimum: int = 0) -> list[Any]:
    """Return a list with at least `minimum` items; a later version may have appended more."""
    if not isinstance(value, list) or len(value) < minimum:
        raise _wrong(value, name, f'a list of {minimum} items' if minimum else 'a list')
    return value


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise _wrong(value, name, 'an object')
    return value


def get(values: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key that must be there."""
    if key not in values:
        raise DamagedRow(f'{key} is missing')
    return values[key]


def _wrong(value: Any, name: str, expected: str) -> DamagedRow:
    try:
        shown = repr(value)
    except ValueError:  # an integer with more digits than Python converts
        shown = f'a {type(value).__name__}'
    if len(shown) > MAX_SHOWN:
        shown = shown[:MAX_SHOWN] + '…'
    return DamagedRow(f'{name} is {shown}, expected {expected}')
