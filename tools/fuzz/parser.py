# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the fuzzer knows about one reader of files."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.formats import change_npz, change_safetensors
from fuzz.mutations import BYTES, Mutation
from sage_perception.cli import main as sage

INVALID = (ValueError, OSError)
"""What `cli.terminal.report_errors` prints in one line."""
NPZ = (*BYTES, *[change_npz] * 8)
SAFETENSORS = (*BYTES, *[change_safetensors] * 8)


@dataclass(frozen=True)
class Parser:
    """One reader of files.

    Attributes:
        name: name in reports.
        seed: writes valid files into an empty folder.
        files: the files that are mutated, relative to the folder; one per case.
        mutations: mutations to choose from.
        read: reads the files of a folder.
        errors: exceptions that report an invalid file.
        after: called with the folder after the mutation.
        weight: share of the cases, relative to the other parsers.

    """

    name: str
    seed: Callable[[Path], None]
    files: tuple[str, ...]
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], Any]
    errors: tuple[type[Exception], ...] = INVALID
    after: Callable[[Path], None] = lambda folder: None
    weight: float = 1.0


def sage_command(*arguments: str) -> Callable[[Path], None]:
    """Return a function that runs a command on the files of a folder, which replaces {}.

    The function raises `ValueError` with what the command prints if it fails.
    """

    def run(folder: Path) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            try:
                code = sage.main([part.replace('{}', str(folder)) for part in arguments])
            except SystemExit as exit_:  # of argparse
                code = exit_.code
        if code:
            raise ValueError(printed.getvalue())

    return run
