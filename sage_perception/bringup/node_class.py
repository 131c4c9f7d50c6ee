# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Find the class of a node by the name of its executable."""

from __future__ import annotations

import importlib
from typing import Any

from sage_perception.bringup.graph import PACKAGE


def node_class(executable: str) -> Any:
    """Return the class of the node that an executable runs, such as 'camera_node'.

    Its module is imported, which takes a second and requires ROS.

    Raises:
        ImportError: there is no such executable, or a package that it requires is missing.
    """
    module = importlib.import_module(f'{PACKAGE}.nodes.{executable}')
    return getattr(module, executable.title().replace('_', ''))
