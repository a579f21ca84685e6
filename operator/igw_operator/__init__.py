"""InferenceGateway operator: turns one SLO-bearing custom resource into a served model."""

__version__ = "0.1.0"
