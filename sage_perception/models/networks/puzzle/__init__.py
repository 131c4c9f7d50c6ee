# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that translate between modalities: fusion by attention, the puzzle grid, commands."""
