# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs that need no microphone, and leave the memory of the user alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sage_perception.bringup.graph import NodeSpec


def with_private_devices(
    specs: Sequence[NodeSpec], folder: Path, **parameters: Mapping[str, object]
) -> list[NodeSpec]:
    """Return the nodes of a graph with a memory in `folder`, and with synthetic sound.

    `parameters` are further ones by the name of the node.
    """
    own = {
        'memory': {'store': str(folder / 'memory.db')},
        'audio': {'source': 'synthetic://?content=mixed'},
        **parameters,
    }
    return [
        replace(spec, parameters={**spec.parameters, **own.get(spec.name, {})}) for spec in specs
    ]
