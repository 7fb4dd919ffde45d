"""A tree that is served, and somebody who edits it directly over HTTP."""

import http.client
import json
from hashlib import md5
from urllib.parse import quote

from tests.blobs.processes import KEY, BlobServer


class TreeServer(BlobServer):
    """A stor of its own, with one empty tree in a folder."""

    token = KEY

    def __init__(self):
        super().__init__("")

    def direct(self, folder=""):
        return Direct(self.port, self.token, folder)


class Direct:
    """Somebody at the remote itself: the plain dialect, below a folder, one request at a time."""

    def __init__(self, port, token, folder=""):
        self.headers, self.folder, self.known = {"Authorization": f"Bearer {token}"}, folder, {}
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def close(self):
        self.line.close()

    def ask(self, method, target, body=None, headers=()):
        self.line.request(method, target, body, self.headers | dict(headers))
        answer = self.line.getresponse()
        return answer.status, answer.read()

    def put(self, path, content, seen=None):
        """Write, if the md5 is `seen` ("new": nothing); tells whether it was done."""
        headers = {} if seen is None else {"Content-MD5": seen}
        status, said = self.ask("PUT", f"/blob/{quote(self.folder + path)}", content, headers)
        assert status in {200, 201, 412}, (status, said)
        return status != 412

    def delete(self, path, seen=None):
        headers = {} if seen is None else {"If-Match": f'"{seen}"'}
        status, said = self.ask("DELETE", f"/blob/{quote(self.folder + path)}", headers=headers)
        assert status in {204, 404, 412}, (status, said)
        return status == 204

    def get(self, path):
        status, body = self.ask("GET", f"/blob/{quote(self.folder + path)}")
        assert status in {200, 404}, (status, body)
        return body if status == 200 else None

    def index(self):
        status, body = self.ask("GET", "/sync")
        assert status == 200, body
        files = json.loads(body)["files"]
        return {path.removeprefix(self.folder): files[path] for path in files if path.startswith(self.folder)}

    def files(self):
        """Give the content of each live file; what was seen once is not fetched again."""
        live = {path: entry["md5"] for path, entry in self.index().items() if not entry["is_deleted"]}
        for path, found in live.items():
            if found not in self.known:
                body = self.get(path)
                if body is None or md5_of(body) != found:  # somebody wrote meanwhile
                    return self.files()
                self.known[found] = body
        return {path: self.known[found] for path, found in live.items()}


def md5_of(content):
    return md5(content, usedforsecurity=False).hexdigest()


def files_in(root):
    """Give the content of each file, without what a sync keeps."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.relative_to(root).parts[0] != ".stor-sync"
    }
