"""The one error of the local node: what is missing, and the command to run next.

Raised anywhere in the package, turned into one line and exit status 1 by `cli`.
"""


class NodeError(Exception):
    """Something the user can act on; the message names the next command."""
