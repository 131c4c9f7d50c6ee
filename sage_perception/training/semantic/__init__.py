# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fit of the model of semantic codes."""
