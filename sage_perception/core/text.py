# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Text for messages."""

from __future__ import annotations


def one_line(value: object) -> str:
    """Return `value` as text on one line: runs of white space become single spaces."""
    return ' '.join(str(value).split())
