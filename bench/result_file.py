# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a bench: one JSON file, by default in out/bench, and one line on the terminal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sage_perception.core.files import write_atomically

FOLDER = Path('out/bench')


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option `--out` for the file of the result, by default out/bench/NAME.json."""
    parser.add_argument(
        '--out',
        type=Path,
        default=FOLDER / f'{name}.json',
        metavar='FILE',
        help='file of the result (default: %(default)s)',
    )


def read_result(path: Path) -> dict[str, Any]:
    """Return the result of an earlier run; empty without a file."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write_result(path: Path, result: Any) -> None:
    """Write a result; numbers of NumPy become floats."""
    write_atomically(path, json.dumps(result, indent=1, default=float) + '\n')


def show_result(result: Any) -> None:
    """Print a result as one line of JSON."""
    print(json.dumps(result, default=float), flush=True)


def store(path: Path, key: str, value: Any) -> None:
    """Replace `key`, such as `node` or `sets.solids`, in the file of a bench, and print it."""
    tree = read_result(path)
    branch = tree
    *parents, last = key.split('.')
    for parent in parents:
        branch = branch.setdefault(parent, {})
    branch[last] = value
    write_result(path, tree)
    print(f'{key}: {json.dumps(value, default=float)}', flush=True)
