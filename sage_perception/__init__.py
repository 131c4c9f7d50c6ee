# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A shared, trusted, compressed language for a robot's cameras."""

__version__ = '0.3.0'
