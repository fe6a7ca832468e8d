"""Tests of meterseal; the folders mirror the packages."""
