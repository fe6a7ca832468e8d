"""Keys over their lives, as pure rules: invocation counters first (counters.py)."""
