# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The path from camera frames to LCTs and codes, without ROS (docs/architecture.md).

Nodes, recorded training data, calibration, benches, and offline replay call these classes, so that
all of them produce the same latents.
"""
