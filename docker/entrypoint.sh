#!/bin/bash
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
# Run a command in the environment of ROS and of the workspace.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /sage/install/setup.bash
exec "$@"
