# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Episodic memory: salience scores, stores, and recall by similarity (docs/memory.md)."""

from sage_perception.memory.episodic import EpisodicMemory, Observation, recalled_lct
from sage_perception.memory.opening import default_path, open_store
from sage_perception.memory.query import Hit, Query
from sage_perception.memory.record import MemoryRecord
from sage_perception.memory.snarc import Scorer, Snarc
from sage_perception.memory.space import Space
from sage_perception.memory.sql_store import MemoryStore, StoreError

__all__ = [
    'EpisodicMemory',
    'Hit',
    'MemoryRecord',
    'MemoryStore',
    'Observation',
    'Query',
    'Scorer',
    'Snarc',
    'Space',
    'StoreError',
    'default_path',
    'open_store',
    'recalled_lct',
]
