# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `builtin_interfaces/Time` and nanoseconds since the epoch."""

from builtin_interfaces.msg import Time


def stamp_to_msg(ns: int) -> Time:
    """Return the stamp of a time in nanoseconds."""
    sec, nanosec = divmod(ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def stamp_from_msg(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec
