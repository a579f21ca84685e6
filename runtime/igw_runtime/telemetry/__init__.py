"""What the process says about itself: metrics, spans, logs, and their live settings."""
