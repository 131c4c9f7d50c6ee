# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the memory node."""

from __future__ import annotations

from sage_perception.core.redact import require_no_password
from sage_perception.memory.opening import CAPACITY, ENVIRONMENT
from sage_perception.ros.common_parameters import rate
from sage_perception.ros.identity import ARBITER_ENTITY, KEY, KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.parameters import Parameter

MAX_RESULTS = 64  # bound of the sequence in QueryMemory

MEMORY = (
    Parameter(
        'model',
        'tinyvae',
        'Model of the latents to store, the same as that of the arbiter: name of a model that '
        'ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    Parameter(
        'store',
        '',
        'SQLite file, or postgresql://user@host/database for a fleet, without a password '
        '(~/.pgpass, PGPASSFILE, a service file or PGPASSWORD has it); empty: a file named '
        f'after the node in ${ENVIRONMENT}, which defaults to ~/.local/share/sage.',
        read_only=True,
        rule=require_no_password,
    ),
    Parameter(
        'capacity',
        CAPACITY,
        'Maximum number of records; above it, the records of lowest retention are deleted.',
        minimum=1,
        maximum=10_000_000,
        read_only=True,
    ),
    Parameter(
        'half_life_h',
        24.0,
        'Time in which the retention value of a record halves, hours.',
        minimum=0.001,
        maximum=1e5,
        read_only=True,
    ),
    Parameter(
        'threshold',
        0.7,
        'Minimum salience of an observation to be stored; 0: every novel observation.',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        'min_novelty',
        0.1,
        'Minimum novelty of an observation to be stored: 1 - its similarity to the nearest '
        'record.',
        minimum=0.0,
        maximum=1.0,
    ),
    rate(5.0, 'Maximum rate at which frames of each camera are observed, Hz.', maximum=60.0),
    Parameter(
        'recall_rate',
        1.0,
        'Maximum rate of recalls for each camera, Hz.',
        minimum=0.1,
        maximum=10.0,
        read_only=True,
    ),
    Parameter(
        'recall_count',
        8,
        'Maximum number of LCTs in a recall.',
        minimum=1,
        maximum=MAX_RESULTS,
    ),
    Parameter(
        'min_recall_age_s',
        10.0,
        'Minimum age of a recalled record, seconds; excludes objects that are still in view.',
        minimum=0.0,
        maximum=1e6,
    ),
    REQUIRE_SIGNATURES,
    OPERATORS,
    ARBITER_ENTITY,
    KEYS,
    KEY,
)
