# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Message types that need not be installed."""

from __future__ import annotations

from typing import Any


def stand_in(package: str, name: str) -> Any:
    """Return a class for a message type in the tables of topics where it is not installed."""
    return type(name, (), {'__module__': f'{package}.msg'})
