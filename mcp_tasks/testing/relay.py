"""A server that is somebody else: it carries its standard streams to the script that listens for it, and back.

Standard library only, and started by its path, so that it is there at once: python relay.py PORT
"""

from __future__ import annotations

import os
import socket
import sys
import threading


def main() -> None:
    """Relay until either side ends."""
    line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))

    def up() -> None:
        while data := os.read(0, 65536):
            line.sendall(data)
        line.shutdown(socket.SHUT_WR)

    threading.Thread(target=up, daemon=True).start()
    while data := line.recv(65536):
        while data:
            data = data[os.write(1, data) :]


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyboardInterrupt):
        sys.exit(1)
