# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Who may be believed, and how far; numpy only."""
