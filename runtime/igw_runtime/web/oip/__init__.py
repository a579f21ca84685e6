"""The Open Inference Protocol v2: REST with JSON and binary tensors, and gRPC.

`inference` holds what both have in common and knows neither; `rest` and `grpc_service` translate.
"""
