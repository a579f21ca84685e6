"""What is asked: the typed spec and status of both kinds, and their CRDs. Pure."""
