# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests with nodes in the test process."""

import signal

import pytest


@pytest.fixture
def keep_signals():
    """Restore the signal handlers, which nodes in this process change."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
