"""The auth service of the bench: `POST /verify` says yes to one token; raw asyncio, so that it is no bottleneck.

`python auth.py PORT TOKEN`, on loopback. It keeps connections open, reads one request after the other, and looks
for the token in the body.
"""

import asyncio
import sys

import uvloop

HOST = "127.0.0.1"
YES = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n" + b'{"valid":true}'
NO = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
MOST = 1 << 16


async def serve(token: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection until its client leaves."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(min(int(fields.get(b"content-length", b"0")), MOST))
            writer.write(YES if token in body else NO)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int, token: bytes) -> None:
    """Serve for ever."""
    server = await asyncio.start_server(lambda *ends: serve(token, *ends), HOST, port, limit=MOST)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2].encode()))
