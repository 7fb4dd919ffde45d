"""Whether the bytes that arrive in a bucket are those that were sent."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import md5

from stor.storage.asking import Upload
from stor.storage.faults import altered
from stor.threads import Threads

_MD5 = re.compile(r"[0-9a-f]{32}")
_KIND = "x-amz-server-side-encryption"
_PLAIN = "AES256"  # with a customer's key or one of a key service an etag is no digest of the bytes


@dataclass(slots=True)
class Sums:
    """What a server makes of digests, as the start finds out.

    `compares`: it refuses a body that has not the SHA-256 which the request tells. `has_md5_etags`: the etag of what is
    put at once, or as a part, is the MD5 of what has come.
    """

    compares: bool = False
    has_md5_etags: bool = False

    async def told(self, upload: Upload, threads: Threads) -> tuple[Upload, dict[str, str]]:
        """Give a body to put at once with what lets the server compare it, and the headers that say so."""
        if self.compares and upload.digest is not None:
            return upload, said(upload.digest)
        return await with_md5(upload, threads), {}

    def etag(self, answered: Mapping[str, str], upload: Upload) -> str:
        """Give the etag that a body got; raises Altered with it when it shows that other bytes have come."""
        etag = answered.get("etag", "").strip('"')
        is_digest = self.has_md5_etags and answered.get(_KIND, _PLAIN) == _PLAIN and _MD5.fullmatch(etag)
        if is_digest and upload.md5 is not None and etag != upload.md5:
            raise altered(etag)
        return etag


def said(digest: str) -> dict[str, str]:
    """Give the header that tells a SHA-256."""
    return {"x-amz-checksum-sha256": b64encode(bytes.fromhex(digest)).decode()}


async def with_md5(upload: Upload, threads: Threads) -> Upload:
    """Hash a body whose MD5 is not known; all servers compare that."""
    if upload.md5 is not None:
        return upload
    digest = md5(usedforsecurity=False)
    if upload.open is None:
        await threads.run(digest.update, upload.data)
    else:
        read = upload.open()
        while piece := await read():
            await threads.run(digest.update, piece)
    return replace(upload, md5=digest.hexdigest())
