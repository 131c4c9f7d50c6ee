# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The number of threads of libraries that read it from the environment."""

from __future__ import annotations

import os


def bound_blas_threads() -> None:
    """Let OpenBLAS compute on one core, unless the user has set the number of its threads.

    It has an effect only before numpy is imported. The cameras of a graph already share the cores.
    With more threads, OpenBLAS keeps a second core busy while it multiplies matrices of some
    crops.
    """
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
