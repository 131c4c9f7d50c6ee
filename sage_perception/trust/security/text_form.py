# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The canonical form of a text."""

from __future__ import annotations

from sage_perception.trust.security.limits import MAX_TEXT_BYTES


def text_form(text: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """Return a uint8 number of bytes and the text in UTF-8.

    Raises `ValueError` for a text with a zero byte or more than `limit` <= 255 bytes.
    """
    # A string in a message ends at its first zero byte.
    if len(text) > limit or '\0' in text or len(data := text.encode()) > limit:
        raise ValueError(f'{text[:MAX_TEXT_BYTES]!r} has a zero byte or more than {limit} bytes')
    return bytes([len(data)]) + data
