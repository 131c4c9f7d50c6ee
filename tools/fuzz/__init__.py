# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fuzzing of everything that reads input from outside; `make fuzz` runs it."""
