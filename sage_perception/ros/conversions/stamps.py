# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `builtin_interfaces/Time` and nanoseconds since the epoch."""

import struct

from builtin_interfaces.msg import Time


def stamp_to_msg(ns: int) -> Time:
    """Return the stamp of a time in nanoseconds."""
    sec, nanosec = divmod(ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def stamp_from_msg(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def normal_stamp_from_msg(stamp: Time) -> int:
    """Return a stamp in nanoseconds that `stamp_to_msg` converts back to the same message.

    Raises:
        ValueError: `nanosec` is 10⁹ or more, as only a malformed message has it.
    """
    if stamp.nanosec >= 1_000_000_000:
        raise ValueError(f'nanosec of a stamp is {stamp.nanosec}, it must be below 10⁹')
    return stamp_from_msg(stamp)


def stamp_from_cdr(data: bytes) -> int:
    """Return the stamp of a serialized message that starts with a header, nanoseconds.

    `data` is CDR: 4 bytes that give the byte order, then seconds (int32) and nanoseconds (uint32).
    Raises `struct.error` for less than 12 bytes.
    """
    order = '<' if data[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', data, 4)
    return int(seconds * 1_000_000_000 + nanoseconds)
