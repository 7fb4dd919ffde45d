"""The object store: names with bytes, equal bytes kept once, collected while all goes on."""
