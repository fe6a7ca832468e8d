"""The migrations, one file each; alembic finds them by their `revision`."""
