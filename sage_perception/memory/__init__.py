# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What is worth remembering, where it is kept, and how it is found again (docs/memory.md)."""

from sage_perception.memory.episodic import EpisodicMemory, Observed, recalled
from sage_perception.memory.record import MemoryRecord
from sage_perception.memory.snarc import Scorer, Snarc
from sage_perception.memory.sql_store import (
    Hit,
    Query,
    Space,
    Store,
    StoreFault,
    default_place,
    open_store,
)

__all__ = [
    'EpisodicMemory',
    'Hit',
    'MemoryRecord',
    'Observed',
    'Query',
    'Scorer',
    'Snarc',
    'Space',
    'Store',
    'StoreFault',
    'default_place',
    'open_store',
    'recalled',
]
