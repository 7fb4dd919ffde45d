"""The obvious Redis proxy, for reference: two blocking threads a connection, no login of its own.

`python threaded.py LISTEN_PORT UPSTREAM_PORT`, both on loopback.
"""

import contextlib
import socket
import sys
import threading

HOST = "127.0.0.1"


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until there are no more, then say so to the sink."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def serve(client: socket.socket, upstream_port: int) -> None:
    """Carry one connection both ways."""
    with client, socket.create_connection((HOST, upstream_port)) as upstream:
        for end in (client, upstream):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
        back.start()
        pump(client, upstream)
        back.join()


def main(listen_port: int, upstream_port: int) -> None:
    """Accept for ever."""
    with socket.create_server((HOST, listen_port), backlog=1024) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, upstream_port), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
