"""Is it good: diagnosis and conditions, pure functions over a Snapshot."""
