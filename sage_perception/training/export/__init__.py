# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Export of trained networks as model folders."""
