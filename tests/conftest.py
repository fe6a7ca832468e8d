"""Settings shared by all tests: property tests without timed assertions, more examples on request."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("default", deadline=None)  # machines differ; no test measures time
settings.register_profile("thorough", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
