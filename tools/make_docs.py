# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Remake docs/nodes.md from the nodes' own tables."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODES = ('camera', 'attention', 'encoder', 'arbiter', 'viewer')
PAGE = ROOT / 'docs' / 'nodes.md'
RELIABLE = {1: 'reliable', 2: 'best effort'}
HEAD = """# The nodes

Made by `make docs` from the tables in `sage_perception/nodes/`; do not edit by hand.

Topics are relative to a node's namespace; `{camera}` stands for each name in the parameter
`cameras`. Every node also publishes its health on `/diagnostics`, once a second. The quality of
service of each topic can be overridden with ROS's own parameters, under the topic's full name:
`qos_overrides./robot1/cam0/image_raw.subscription.reliability: best_effort`.
"""


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
    parts = [f'## {name}_node\n', f'{module.__doc__.strip()} {node.__doc__.strip()}\n']
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


def page() -> str:
    """Return the whole page."""
    return '\n'.join([HEAD, *(section(name) for name in NODES)])


def main() -> int:
    """Write the page, or with `--check` tell whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; 1 if out of date')
    if parser.parse_args().check:
        if PAGE.read_text() != page():
            print('docs/nodes.md is out of date: run `make docs`', file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(page())
    return 0


if __name__ == '__main__':
    sys.exit(main())
