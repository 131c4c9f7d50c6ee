# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sage_perception.core.text import one_line

OK, OPTIONAL, MISSING = 'ok', 'optional', 'missing'


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: `OK`; `OPTIONAL` if only some features are affected; `MISSING` if nodes or commands
            fail.
        detail: what was found.
        fix: a command or an instruction; empty if there is nothing to fix.
    """

    name: str
    state: str
    detail: str
    fix: str = ''


def run_check(check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check; a check that raises is a finding, too."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - any part of the installation can be broken
        name, detail = check.__name__.replace('_', ' '), one_line(error)
        return Finding(name, MISSING, detail, 'install the missing packages, then run this again')
