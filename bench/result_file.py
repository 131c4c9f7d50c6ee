# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a bench with several parts: one JSON file with a key for each part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sage_perception.core.files import write_atomically


def store(path: Path, key: str, value: Any) -> None:
    """Replace `key`, such as `node` or `sets.solids`, of a JSON file, and print it."""
    tree = json.loads(path.read_text()) if path.is_file() else {}
    branch = tree
    *parents, last = key.split('.')
    for parent in parents:
        branch = branch.setdefault(parent, {})
    branch[last] = value
    write_atomically(path, json.dumps(tree, indent=1, default=float) + '\n')
    print(f'{key}: {json.dumps(value, default=float)}', flush=True)
