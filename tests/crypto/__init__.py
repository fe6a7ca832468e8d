"""Tests of meterseal.crypto."""
