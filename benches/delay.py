"""A network that is not loopback: a TCP proxy that keeps what clients send for a while."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """Give a port that leads to `port`, with `seconds` added to each round trip."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener, port, seconds), daemon=True).start()
        yield listener.getsockname()[1]


def accept(listener: socket.socket, port: int, seconds: float) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # the listener was closed
            return
        server = socket.create_connection(("127.0.0.1", port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((client, server, seconds), (server, client, 0.0)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def pump(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """Pass on what comes, each piece after a pause."""
    try:
        while data := source.recv(1 << 16):
            time.sleep(seconds)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
