"""Tests of the utility: a third party, the head-end that carries for it, and the meter, in one process."""
