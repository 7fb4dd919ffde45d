"""Uploads that can be resumed: pieces that are kept as they come, and become an object when all are here."""
