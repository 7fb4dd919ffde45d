"""Keyed bytes behind one promise: `Store`; a `Directory` or a `Bucket` keeps them."""
