"""Tests of meterseal.state."""
