# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Text for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def one_line(value: object) -> str:
    """Return `value` as text on one line: runs of white space become single spaces."""
    return ' '.join(str(value).split())


def counted(number: int, noun: str) -> str:
    """Return a number and a noun with a regular plural, such as '1 frame' or '2 frames'."""
    return f'{number} {noun}{"" if number == 1 else "s"}'


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a suggestion such as ': did you mean up?', '' if no choice is similar."""
    near = get_close_matches(name, list(choices), n=3, cutoff=0.7)
    return f': did you mean {" or ".join(dict.fromkeys(near))}?' if near else ''
