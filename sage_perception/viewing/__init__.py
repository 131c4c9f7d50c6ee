# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Show a bag or a running graph with Rerun: `sage view`.

`Scene` turns messages into drawable items, and `RerunSink` logs them. Messages come from a bag
(`recorded`), also where ROS is not installed, or from a running graph (`live`).
"""
