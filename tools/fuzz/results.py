# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The results of `make fuzz`: one JSON file with one key for each fuzzer."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from sage_perception.core.files import make_folder, write_atomically

RESULTS = Path(__file__).resolve().parents[2] / 'out' / 'bench' / 'security.json'


def merge(key: str, value: Any, path: Path = RESULTS) -> None:
    """Set a key of a JSON file, and keep its other keys; create the file if it is missing.

    Several processes may merge at the same time. Raises `OSError`, and `ValueError` if the file
    is not a JSON object.
    """
    make_folder(path.parent)
    with path.with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = json.loads(path.read_text()) if path.exists() else {}
        if not isinstance(content, dict):
            raise ValueError(f'{path} is not a JSON object: delete it')
        write_atomically(path, json.dumps(content | {key: value}, indent=2) + '\n')
