# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Markdown of the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r'([\\*<\[|])')
_CODE = re.compile(r'(`[^`]*`)')


def escape(text: str) -> str:
    """Return plain text as Markdown that shows it; code in backticks stays code."""
    parts = _CODE.split(text)
    return ''.join(
        part.replace('|', '\\|') if part.startswith('`') else _SPECIAL.sub(r'\\\1', part)
        for part in parts
    )


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; the cells are Markdown."""
    lines = [heading, ('---',) * len(heading), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


def code(lines: Iterable[str], language: str = 'text') -> str:
    """Return a code block."""
    return '\n'.join([f'```{language}', *lines, '```', ''])


def prose(text: str) -> str:
    """Return plain text as paragraphs; indented lines become code blocks."""
    blocks: list[str] = []
    group: list[str] = []
    indented = False

    def finish() -> None:
        while group and not group[-1].strip():
            group.pop()
        if group and indented:
            margin = min(len(line) - len(line.lstrip()) for line in group if line.strip())
            blocks.append(code(line[margin:] for line in group))
        elif group:
            blocks.append(escape(' '.join(line.strip() for line in group)) + '\n')
        group.clear()

    for line in text.strip('\n').splitlines():
        if not line.strip() and not indented:
            finish()
        elif line.strip() and line.startswith(' ') != indented:
            finish()
            indented = line.startswith(' ')
        if line.strip() or group:
            group.append(line)
    finish()
    return '\n'.join(blocks)
