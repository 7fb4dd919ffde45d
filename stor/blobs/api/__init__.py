"""The sync API over HTTP, in both dialects; docs/protocols/blobs.md says what its routes promise."""
