"""A double as a process of its own: it says where it is, and stays until it is interrupted."""

import threading


def stay_up(address: str) -> None:
    """Print `address` as the first line, which is how a starter learns the port; return at Ctrl-C."""
    print(address, flush=True)  # noqa: T201  # the line is the interface
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
