"""What runs a network: one protocol, an OpenVINO and a torch implementation."""
