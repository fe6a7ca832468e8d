"""Tests against real servers, SoftHSM and PostgreSQL: `make test-system` starts them."""
