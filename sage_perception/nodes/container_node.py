# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the nodes of a camera, or of a whole graph, in one process; see `docs/composition.md`.

`ros2 launch … composition:=true` and `sage up --composed` start it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rclpy.utilities import remove_ros_args

from sage_perception.bringup.graph import NODES
from sage_perception.bringup.node_class import node_class
from sage_perception.bringup.respawn import CONFIGURATION_ERROR
from sage_perception.ros.composition import Composition, crash_file, read_nodes
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.errors import ConfigurationError


def composable_class(executable: str) -> type[Endpoints]:
    """Return the class of the node that an executable runs, such as 'camera_node'.

    Raises:
        ConfigurationError: there is no such executable.
    """
    if executable.removesuffix('_node') not in NODES:
        raise ConfigurationError(
            f'executable {executable!r} cannot be composed; use one of '
            f'{", ".join(f"{name}_node" for name in NODES)}'
        )
    found: type[Endpoints] = node_class(executable)
    return found


def main(args: list[str] | None = None) -> None:
    """Run the nodes of the file that `--nodes` names."""
    words = remove_ros_args(args if args is not None else sys.argv)[1:]
    try:
        if len(words) != 2 or words[0] != '--nodes':
            raise ConfigurationError('usage: container_node --nodes FILE')
        path = Path(words[1])
        makers = {
            name: (composable_class(executable), arguments)
            for name, (executable, arguments) in read_nodes(path).items()
        }
    except ConfigurationError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(CONFIGURATION_ERROR)
    sys.exit(Composition(makers, crash_file(path)).run())


if __name__ == '__main__':
    main()
