# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the fields that all kinds of messages share, before a node reads a message."""

from __future__ import annotations

from functools import cache
from typing import Any

MAX_NAME_CHARS = 256
"""Maximum length of a frame id and of the name of a camera or an entity."""
MAX_TEXT_CHARS = 1 << 16
"""Maximum length of another text."""
NAMES = ('frame_id', 'child_frame_id', 'camera', 'entity_id', 'encoding', 'format')
MAX_SHOWN_CHARS = 40
_NS_PER_S = 1_000_000_000


def find_fault(message: Any) -> str:
    """Return the fault of the stamp or of a text of a message, '' if there is none.

    A stamp must not be negative, and its nanoseconds must be below 10⁹. A name has at most
    `MAX_NAME_CHARS` characters, all of them printable; another text at most `MAX_TEXT_CHARS`. The
    checked fields are the header, stamps and texts at the top level of the message; what else a
    message holds is checked by its conversion. The fault names the field and the value.
    """
    for name in _fields(message.__class__, 'string'):
        if fault := _text_fault(name, getattr(message, name)):
            return fault
    for name in _fields(message.__class__, 'builtin_interfaces/Time'):
        if fault := _stamp_fault(name, getattr(message, name)):
            return fault
    for name in _fields(message.__class__, 'std_msgs/Header'):
        header = getattr(message, name)
        fault = _stamp_fault(f'{name}.stamp', header.stamp)
        if fault := fault or _text_fault(f'{name}.frame_id', header.frame_id):
            return fault
    return ''


@cache
def _fields(kind: Any, of: str) -> tuple[str, ...]:
    """Return the names of the fields of a message type that have the type `of`."""
    types: dict[str, str] = kind.get_fields_and_field_types()
    return tuple(name for name, found in types.items() if found.partition('<')[0] == of)


def _stamp_fault(name: str, stamp: Any) -> str:
    if stamp.sec < 0:
        return f'{name}.sec is {stamp.sec}, it must not be negative: check the clock'
    if stamp.nanosec >= _NS_PER_S:
        return f'{name}.nanosec is {stamp.nanosec}, it must be below 10⁹'
    return ''


def _text_fault(name: str, text: str) -> str:
    is_name = name.rpartition('.')[2] in NAMES
    limit = MAX_NAME_CHARS if is_name else MAX_TEXT_CHARS
    if len(text) > limit:
        return f'{name} has {len(text)} characters, at most {limit} are accepted'
    if is_name and not text.isprintable():
        return f'{name} {text[:MAX_SHOWN_CHARS]!a} has characters that cannot be printed'
    return ''
