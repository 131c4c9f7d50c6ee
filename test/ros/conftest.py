# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""For nodes that run within the test process."""

import signal

import pytest


@pytest.fixture
def keep_signals():
    """Restore what a node that runs in this process does to signals."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
