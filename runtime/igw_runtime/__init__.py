"""The inference gateway's model server: one image classifier behind instrumented HTTP.

Started by `python -m igw_runtime`; configured by one JSON file that the operator mounts.
It knows nothing of Kubernetes: the operator and this package share data, never code.
"""

__version__ = "0.1.0"
