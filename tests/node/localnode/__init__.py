"""A real single-node Kubernetes behind kind's command line, for machines without Docker.

`tests/node/kind` calls `localnode.cli`; the integration tests import
`localnode.controlplane`. Standard library only: it runs before any venv exists.
"""
