# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Learned models and the registry that loads them."""
