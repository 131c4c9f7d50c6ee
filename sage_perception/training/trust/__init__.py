# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of the trust estimates of a model, as `sage calibrate-trust` runs it."""
