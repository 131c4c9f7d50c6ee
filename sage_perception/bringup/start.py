# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Start the module of a node so that SIGINT during its imports ends the process quietly.

The imports of a node take seconds. Python's own handler of SIGINT would print where it was
interrupted. This module imports nothing else before it replaces that handler:

    python -m sage_perception.bringup.start sage_perception.nodes.arbiter_node --ros-args ...

The console scripts of the nodes (`ros2 run`, `ros2 launch`) are attributes of this module, such as
`arbiter_node`. `ros.run.run` installs the handler that is used from there on.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from functools import partial


def start(module: str) -> None:
    """Run a module as the main program, with the arguments in `sys.argv[1:]`."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `bringup.processes`
    from sage_perception.core.threads import bound_blas_threads

    bound_blas_threads()
    runpy.run_module(module, run_name='__main__', alter_sys=True)


def __getattr__(name: str) -> Callable[[], None]:
    """Return the function of a console script, such as `arbiter_node`."""
    if not name.endswith('_node'):
        raise AttributeError(f'module {__name__} has no attribute {name!r}')
    return partial(start, f'sage_perception.nodes.{name}')


if __name__ == '__main__':
    start(sys.argv.pop(1))
