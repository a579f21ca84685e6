"""When: the work queue and the one reconcile function."""
