"""The HTTP front: `build_site` composes routes into a `Site`, `WebService` listens with it."""
