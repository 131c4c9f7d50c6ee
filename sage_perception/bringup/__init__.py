# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node graphs as data, and running them as processes or launch descriptions."""
