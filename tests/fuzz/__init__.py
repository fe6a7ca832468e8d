"""Tests of the fuzz targets and of what runs them."""
