# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Stub nodes: small processes that a graph runs in place of its nodes."""

import time
from pathlib import Path

from sage_perception.bringup.graph import NodeSpec

ROOT = Path(__file__).resolve().parents[2]

STEADY = """
    import signal, time
    interrupts = []
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
    print('[INFO] [1.0] [steady]: ready')
    while not interrupts:
        time.sleep(0.02)
    time.sleep(0.1)
    print('interrupts:', len(interrupts))
"""
STUBBORN = """
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('ready')
    while True:
        time.sleep(0.02)
"""


def wait_for(condition, timeout_s: float = 30.0):
    """Wait until a condition is true and return its value."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, 'timed out'
        time.sleep(0.02)
    return value


def spec(name: str, executable: str | None = None, **options) -> NodeSpec:
    return NodeSpec('stub', executable or name, name, **{'respawn_delay_s': 0.05, **options})
