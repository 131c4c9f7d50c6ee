# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage demo`: run the two-camera graph on a video, record it, replay it and measure it."""

from sage_perception.cli.demo.command import main, parser

__all__ = ['main', 'parser']
