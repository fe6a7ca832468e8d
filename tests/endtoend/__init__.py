"""Tests with all parties: utility, head-end, concentrator, meter."""
