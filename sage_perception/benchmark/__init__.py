# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a running graph: frame rates, latency, CPU, memory and power."""
