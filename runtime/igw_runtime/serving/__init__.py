"""Work between the event loop and the engine: queue, workers, deadlines, life cycle."""
