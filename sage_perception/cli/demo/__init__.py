# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage demo`: the two-camera graph on recorded footage, recorded, replayed and measured."""

from sage_perception.cli.demo.run import main

__all__ = ['main']
