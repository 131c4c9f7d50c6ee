# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Discovery of refinement plugins: entry points of the group `sage.irp_plugins`."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sage_perception.irp.plugin import IRPPlugin

GROUP = 'sage.irp_plugins'


def available() -> dict[str, EntryPoint]:
    """Return the installed plugins by name, without importing them."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def load(name: str, **options: Any) -> IRPPlugin[Any, Any]:
    """Create a plugin by name; `options` are the arguments of its class.

    Raises `ValueError` if no plugin has that name, or if it cannot be imported or is not an
    `IRPPlugin`.
    """
    points = available()
    if name not in points:
        known = ', '.join(points) or 'none: reinstall sage_perception'
        raise ValueError(f'unknown IRP plugin {name!r}; installed: {known}')
    try:
        kind = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f'cannot import the IRP plugin {name!r}: {error}') from error
    if not (inspect.isclass(kind) and issubclass(kind, IRPPlugin)):
        raise ValueError(f'the IRP plugin {name!r} is {points[name].value}, not an IRPPlugin')
    return kind(**options)
