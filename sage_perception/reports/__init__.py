# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reports as tables and figures."""
