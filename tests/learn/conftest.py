"""Quiet backends for the tests of learning."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
