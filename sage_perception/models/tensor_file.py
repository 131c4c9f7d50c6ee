# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Safetensors files beside the weights of a model, such as its identity head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from sage_perception.core.reading import require_regular
from sage_perception.core.text import one_line
from sage_perception.models.artifact import ModelError

_DAMAGE = (
    SafetensorError,
    OSError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class TensorFile(NamedTuple):
    """An open file: its metadata, and its tensors by name."""

    metadata: dict[str, str]
    file: safe_open

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor as float32."""
        return self.file.get_tensor(name).astype(np.float32)


@contextmanager
def opened(path: Path, max_bytes: int, fix: str) -> Iterator[TensorFile]:
    """Open a file of at most `max_bytes`.

    Raises `ModelError` with `fix` for a file that cannot be read, and for the errors that its
    content causes in the block.
    """
    try:
        require_regular(path, max_bytes)
        with safe_open(path, 'numpy') as file:
            yield TensorFile(file.metadata() or {}, file)
    except _DAMAGE as error:
        raise ModelError(f'{path} cannot be read: {one_line(error)}; {fix}') from error
