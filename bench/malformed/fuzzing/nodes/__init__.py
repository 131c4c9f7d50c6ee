# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The nodes without rate limits, so that each malformed message is read."""
