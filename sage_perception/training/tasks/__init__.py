# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What is trained: one task per model family."""
