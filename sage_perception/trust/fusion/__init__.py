# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Synchronization, matching and fusion of latents of several cameras."""
