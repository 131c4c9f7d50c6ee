# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Text for messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


def one_line(value: object) -> str:
    """Return `value` as text on one line: runs of white space become single spaces."""
    return ' '.join(str(value).split())


def counted(number: int, noun: str) -> str:
    """Return a number and a noun with a regular plural, such as '1 frame' or '2 frames'."""
    return f'{number} {noun}{"" if number == 1 else "s"}'


def split_names(text: str) -> list[str]:
    """Return the names of a list such as 'red, green'; none for ''."""
    return [name.strip() for name in text.split(',') if name.strip()]


def natural_key(name: str) -> list[int | str]:
    """Return a sort key that orders the numbers in names by value: img2 before img10."""
    parts = re.split('([0-9]+)', name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a suggestion such as ': did you mean up?', '' if no choice is similar."""
    names = list(choices)
    typo = get_close_matches(name, names, n=1, cutoff=0.9)
    near = typo or get_close_matches(name, names, n=3, cutoff=0.7)
    return f': did you mean {" or ".join(dict.fromkeys(near))}?' if near else ''
