# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Translation between modalities: body states, tokens, the puzzle grid and commands."""
