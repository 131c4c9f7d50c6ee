# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compatibility of latent spaces: probe images, measurement, and translation."""
