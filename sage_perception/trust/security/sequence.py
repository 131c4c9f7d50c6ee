# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Strictly increasing sequences, which also increase across restarts and changes of the clock.

>>> counter = SequenceCounter(sequence_path(key_folder(), 'robot1/cam0'))
>>> sequence = counter.next()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from sage_perception.core.files import write_atomically
from sage_perception.trust.security.keys import key_path

RESERVED_NS = 10_000_000_000
"""Sequences reserved in the file beyond the time, nanoseconds: the longest time between writes."""
RESERVED_COUNT = 1 << 20
"""Sequences reserved in the file beyond the last one, if that is ahead of the time."""
MAX_SEQUENCE = 1 << 63
"""Bound of a sequence that is read from a file: the year 2262."""


class SequenceCounter:
    """The sequences of one entity: the time in nanoseconds, or one more than the last sequence.

    Sequences follow the clock, so that an entity never stays behind a sequence that another holder
    of its key used. If the clock is set back, they continue above the last one.

    With a `path`, a bound of the used sequences is written to that file (mode 0600, atomically),
    and a restarted process continues above it even if the clock was set back in between, as on a
    computer without a battery for its clock. If the file cannot be read or written, sequences
    follow the clock only, and `fault` has the cause and the fix. `clock` returns the time of the
    system in nanoseconds. Methods may be called from several threads.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        self.path, self.fault = path, ''
        self._clock = clock
        self._lock = threading.Lock()
        self._last = self._reserved = self._read() if path is not None else 0

    def next(self) -> int:
        """Return the next sequence."""
        with self._lock:
            self._last = max(self._last + 1, self._clock())
            if self._last >= self._reserved and self.path is not None:
                self._reserve()
            return self._last

    def _read(self) -> int:
        assert self.path is not None
        try:
            with self.path.open('rb') as file:
                reserved = int(file.read(32))
            if not 0 <= reserved < MAX_SEQUENCE:
                raise ValueError(f'{reserved} is not below {MAX_SEQUENCE}')
        except FileNotFoundError:
            return 0
        except OSError as error:
            self.fault = f'{self.path} cannot be read: {error.strerror}'
        except ValueError as error:
            self.fault = f'{self.path} is not a sequence ({error}): it is written again'
        else:
            return reserved
        return 0

    def _reserve(self) -> None:
        assert self.path is not None
        self._reserved = max(self._clock() + RESERVED_NS, self._last + RESERVED_COUNT)
        try:
            write_atomically(self.path, f'{self._reserved}\n', 0o600)
        except OSError as error:
            self.fault = (
                f'{self.path} cannot be written ({error.strerror}), so the sequences of a restart '
                'follow the clock only: make its folder writable'
            )
        else:
            self.fault = ''


class Counting:
    """Sequences that count from `start`, for recordings and tests: they never follow the clock."""

    fault = ''

    def __init__(self, start: int) -> None:
        self._next = start
        self._lock = threading.Lock()

    def next(self) -> int:
        """Return the next sequence."""
        with self._lock:
            self._next += 1
            return self._next - 1


def sequence_path(folder: Path, entity: str) -> Path:
    """Return the path of the sequence file of an entity, beside its secret key."""
    return key_path(folder, entity).with_suffix('.sequence')
