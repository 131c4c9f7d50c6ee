# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the nodes that offline replay runs too, one table for each node.

`nodes` declares them, and `regression` reads the same tables, so that a parameter file has one
meaning and one validation.
"""
