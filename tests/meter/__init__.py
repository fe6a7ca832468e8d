"""Tests of meterseal.meter."""
