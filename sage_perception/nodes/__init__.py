# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes, one file each: parameters, topics, and calls to the core."""
