# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded H contexts, the training data of H-to-L compressors."""
