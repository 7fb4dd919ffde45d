"""A line to a server that can be cut, counted, held up and falsified."""

import socket
import threading
from contextlib import suppress


class Line:
    """Forwards connections to a port. `sent` and `given` count the bytes to and from it, `asked` has what was sent.

    After `most` bytes from the server in all, everything is cut, or held up when `holds`; after `takes` bytes to it no
    more are taken. The first `wrong` among those from the server is replaced by as many others.
    """

    def __init__(self, port, most=None, *, holds=False, takes=None, wrong=b""):
        self._port, self.most, self._holds, self._takes, self._wrong = port, most, holds, takes, wrong
        self.sent = self.given = 0
        self.asked = b""
        self._held = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def release(self):
        """Take all that is held up, and what comes."""
        self._takes = None
        self._held.set()

    def close(self):
        self._held.set()
        self._cut(self._listening)
        for one in self._open:
            self._cut(one)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._open += [client, server]
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._give, args=(server, client), daemon=True).start()

    def _ask(self, client, server):
        with suppress(OSError):
            while data := client.recv(65536 if self._takes is None else min(65536, self._takes - self.sent)):
                self.asked += data if len(self.asked) < 1 << 20 else b""
                server.sendall(data)
                self.sent += len(data)
                if self.sent == self._takes:
                    self._held.wait()
        self._cut(server)

    def _give(self, server, client):
        with suppress(OSError):
            while data := server.recv(65536):
                if self._wrong and self._wrong in data:
                    data, self._wrong = data.replace(self._wrong, self._wrong[::-1], 1), b""
                data = data if self.most is None else data[: max(0, self.most - self.given)]
                self.given += len(data)
                client.sendall(data)
                if self.given == self.most:
                    if self._holds:
                        self._held.wait()
                    break
        self._cut(client)
        self._cut(server)

    def _cut(self, one):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
