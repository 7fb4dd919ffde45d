"""The object store over HTTP: `ObjectsApi`; docs/protocols/objects.md says what its routes promise."""
