"""What the object store counts as it goes; one set for all of a process. Labels are bounded."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """Counters with the names of the contract, and how long uploads take from their last byte until they are durable.

    `small_uploads` went into the database, `large_uploads` into a store: `observe(seconds)`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.gc_runs = Counter("activestorage_gc_runs", "Rounds of the collector.", registry=registry)
        self.gc_deleted_blobs = Counter(
            "activestorage_gc_deleted_blobs", "Blobs that nothing referred to and that are gone.", registry=registry
        )
        self.integrity_errors = Counter(
            "activestorage_integrity_errors", "Stored bytes that were not what they should be.", registry=registry
        )
        self.unreadable = Counter(
            "stor_objects_unreadable",
            "Stored bytes that could not be read while their store was well.",
            registry=registry,
        )
        uploads = Histogram(
            "stor_objects_upload_seconds",
            "Time from the last byte of an upload until it was durable, by where the bytes went.",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.small_uploads, self.large_uploads = uploads.labels("small"), uploads.labels("large")
