"""Tests of meterseal.cosem."""
