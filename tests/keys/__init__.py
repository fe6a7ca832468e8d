"""Tests of meterseal.keys."""
