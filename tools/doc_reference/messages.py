# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The page of the messages and services, generated from the definitions in `sage_msgs`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from doc_reference.markdown import escape, table

FOLDER = Path(__file__).resolve().parents[2] / 'sage_msgs'
INTRODUCTION = """\
# Messages and services

The interfaces of the package `sage_msgs`. `[<=N]` is an array of at most N elements, and
`string<=N` a string of at most N bytes.

"""
_LINE = re.compile(
    r'(?P<type>\S+)\s+(?P<name>\w+)\s*(?:=\s*(?P<value>\S+))?\s*(?:#\s*(?P<text>.*))?'
)


class Field(NamedTuple):
    """A field or, with a value, a constant of a definition."""

    type: str
    name: str
    value: str | None
    text: str


def page() -> str:
    """Return the page."""
    messages = sorted((FOLDER / 'msg').glob('*.msg'))
    services = sorted((FOLDER / 'srv').glob('*.srv'))
    names = {path.stem for path in messages}
    parts = [INTRODUCTION, '## Messages\n']
    parts += [_section(path, names) for path in messages]
    parts.append('## Services\n')
    parts += [_section(path, names) for path in services]
    return '\n'.join(parts)


def read(text: str) -> tuple[str, list[Field]]:
    """Return the description and the fields of a definition, in the order of the file.

    Comments in the first lines are the description. A comment after a field describes it, and
    continues in the comments below it.
    """
    description: list[str] = []
    fields: list[Field] = []
    for line in text.splitlines():
        comment = re.fullmatch(r'\s*#\s?(.*)', line)
        if comment and not fields:
            description.append(comment[1])
        elif comment:
            fields[-1] = fields[-1]._replace(text=f'{fields[-1].text} {comment[1].strip()}')
        elif match := _LINE.fullmatch(line.strip()):
            fields.append(Field(match['type'], match['name'], match['value'], match['text'] or ''))
        elif line.strip():
            raise ValueError(f'{line!r} is not a field')
    return ' '.join(description).strip(), fields


def _section(path: Path, names: set[str]) -> str:
    parts = [f'### {path.stem}\n']
    texts = path.read_text().split('\n---\n')
    titles = ['**Request**\n', '**Response**\n'] if path.suffix == '.srv' else ['']
    for title, text in zip(titles, texts, strict=True):
        description, fields = read(text)
        if description:
            parts.append(escape(description) + '\n')
        if title:
            parts.append(title)
        values = [field for field in fields if field.value is None]
        constants = [field for field in fields if field.value is not None]
        rows = [(f'`{f.name}`', _type(f.type, names), escape(f.text)) for f in values]
        parts.append(table(('field', 'type', 'description'), rows) if rows else 'Empty.\n')
        if constants:
            rows = [(f'`{f.name}`', f.value or '', escape(f.text)) for f in constants]
            parts.append(table(('constant', 'value', 'description'), rows))
    return '\n'.join(parts)


def _type(text: str, names: set[str]) -> str:
    base = text.partition('[')[0]
    return f'[`{text}`](#{base.lower()})' if base in names else f'`{text}`'
