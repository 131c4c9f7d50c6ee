# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Show a bag or a running graph with Rerun: `sage view`.

`Scene` turns messages into drawable items, and `RerunSink` logs them. Messages come from a bag
(`recorded`), also where ROS is not installed, or from a running graph (`live`).
"""

DEFAULT_RATE_HZ = 10.0
"""Maximum rate of the images and latents of each camera, Hz."""
GRPC_PORT, WEB_PORT = 9876, 9090
"""Ports of the recording and of the web viewer."""
