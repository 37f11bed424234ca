"""Receives the live video of `dermedge run --serve` over several connections, like several viewers.

    python -m dermedge.benchmarks.lab.children.viewers PORT COUNT

The viewers read until standard input ends. Then the program prints how many bytes each viewer has received.
"""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Sequence

__all__ = ["main"]

_CHUNK_BYTES = 1 << 16


def main(argv: Sequence[str]) -> int:
    """Reads the live video at PORT of 127.0.0.1 over COUNT connections; returns the exit status."""
    port, count = map(int, argv)
    request = f"GET /video.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    taken: dict[socket.socket, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for _ in range(count):
            viewer = socket.create_connection(("127.0.0.1", port))
            viewer.sendall(request)
            selector.register(viewer, selectors.EVENT_READ)
            taken[viewer] = 0
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    print(*taken.values())
                    return 0
                assert isinstance(key.fileobj, socket.socket)
                taken[key.fileobj] += len(key.fileobj.recv(_CHUNK_BYTES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
