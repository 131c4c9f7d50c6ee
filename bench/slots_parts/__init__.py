# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of `bench/slots.py`, one group of figures each."""
