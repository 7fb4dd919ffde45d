"""API keys over HTTP: `KeysApi`."""
