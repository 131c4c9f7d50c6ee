# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Plugins of this and of other packages: entry points of the group `sage.irp_plugins`."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points

from sage_perception.cli.terminal import Parser
from sage_perception.irp.plugin import IRPPlugin

GROUP = 'sage.irp_plugins'


def available() -> dict[str, EntryPoint]:
    """Return the plugins that are installed, by name; none of them is imported."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def load(name: str, **settings) -> IRPPlugin:
    """Make a plugin by its name.

    Raises `ValueError` when there is none of that name, or what is there is no plugin.
    """
    points = available()
    if name not in points:
        known = ', '.join(points) or 'none: reinstall sage_perception'
        raise ValueError(f'there is no IRP plugin {name!r}, known are {known}')
    try:
        kind = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f'the IRP plugin {name!r} cannot be imported: {error}') from error
    if not (inspect.isclass(kind) and issubclass(kind, IRPPlugin)):
        raise ValueError(f'{points[name].value}, the IRP plugin {name!r}, is no IRPPlugin')
    return kind(**settings)


def main(argv: list[str]) -> int:
    """List the plugins: the command `sage irp list`."""
    parser = Parser(
        prog='sage irp',
        description='What can be refined under a budget. A package adds a plugin by an entry '
        f'point of the group {GROUP}; see docs/irp.md.',
    )
    parser.add_argument('action', choices=['list'], help='list the plugins that are installed')
    parser.parse_args(argv)
    for name, point in available().items():
        package = f'{point.dist.name} {point.dist.version}' if point.dist else ''
        print(f'{name:<16} {point.value}  {package}')
    return 0
