# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of models: scores, baselines and comparisons."""
