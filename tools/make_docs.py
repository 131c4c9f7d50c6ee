# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Remake the reference in README.md from the nodes' own tables."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODES = ('camera', 'attention', 'encoder', 'arbiter', 'viewer', 'memory', 'compressor')
PAGE = ROOT / 'README.md'
BEGIN, END = '<!-- nodes -->\n', '<!-- /nodes -->\n'
RELIABLE = {1: 'reliable', 2: 'best effort'}


def rows(heading: tuple[str, ...], lines: list[tuple]) -> str:
    """Return a Markdown table."""
    table = [heading, ('---',) * len(heading), *lines]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in table) + '\n'


def type_name(kind: type) -> str:
    """Return `package/Type` of an interface class."""
    return f'{kind.__module__.split(".")[0]}/{kind.__name__}'


def quality(topic) -> str:
    """Return a topic's quality of service in words."""
    profile = topic.qos
    words = [RELIABLE[int(profile.reliability)], f'last {profile.depth}']
    if int(profile.durability) == 1:
        words.append('latched')
    return ', '.join(words)


def section(name: str) -> str:
    """Return the chapter of one node."""
    module = importlib.import_module(f'sage_perception.nodes.{name}_node')
    node = getattr(module, f'{name.capitalize()}Node')
    parts = [f'### {name}_node\n', f'{module.__doc__.strip()} {node.__doc__.strip()}\n']
    for title, table in (('Subscribes', node.SUBSCRIBES), ('Publishes', node.PUBLISHES)):
        if table:
            lines = [
                (f'`{t.name}`', f'`{type_name(t.type)}`', quality(t), t.description) for t in table
            ]
            parts.append(f'**{title}**\n')
            parts.append(rows(('topic', 'type', 'quality of service', ''), lines))
    if node.SERVES:
        lines = [(f'`{s.name}`', f'`{type_name(s.type)}`', s.description) for s in node.SERVES]
        parts.append('**Services**\n')
        parts.append(rows(('service', 'type', ''), lines))
    lines = []
    for p in node.PARAMETERS:
        value = str(p.default).lower() if isinstance(p.default, bool) else p.default
        shown = f'`{value}`' if value != '' else 'empty'
        when = 'at start' if p.read_only else 'any time'
        lines.append((f'`{p.name}`', shown, p.constraint or 'any', when, p.description))
    parts.append('**Parameters**\n')
    parts.append(rows(('parameter', 'default', 'allowed', 'can be set', ''), lines))
    return '\n'.join(parts)


def page(text: str) -> str:
    """Return the page `text` with its reference made anew."""
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    reference = '\n'.join(section(name) for name in NODES)
    return f'{head}{BEGIN}\n{reference}\n{END}{tail}'


def main() -> int:
    """Write the reference, or with `--check` tell whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; 1 if out of date')
    text = PAGE.read_text()
    if not parser.parse_args().check:
        PAGE.write_text(page(text))
    elif text != page(text):
        print('the reference in README.md is out of date: run `make docs`', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
