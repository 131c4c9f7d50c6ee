# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The pages of the reference that are generated: commands, nodes, messages."""
