# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Values and helpers that every package shares; no ROS, no torch."""
