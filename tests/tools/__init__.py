"""Tests of the project's own checks: a check that cannot fail is worse than none."""
