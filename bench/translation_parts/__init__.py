# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of `bench/translation.py`, one figure or group of figures each."""
