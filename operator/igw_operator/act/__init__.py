"""What we do about it: server-side apply, prune, status, events. Writes only."""
