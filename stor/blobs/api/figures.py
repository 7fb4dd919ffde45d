"""What the API counts beside the site's own figures."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stor.blobs.api.events import Events
from stor.blobs.tenants import Trees


class Figures(Collector):
    """Gauges, read when somebody looks."""

    def __init__(self, trees: Trees, events: Events, registry: CollectorRegistry) -> None:
        self._trees, self._events = trees, events
        registry.register(self)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Look at what is open now."""
        yield GaugeMetricFamily("stor_blobs_trees_open", "Trees that are open", value=self._trees.open)
        yield GaugeMetricFamily("stor_blobs_listeners", "Who listens to events", value=len(self._events))


def operations(registry: CollectorRegistry) -> Counter:
    """Count the operations of batches, by kind and class of status."""
    return Counter("stor_blobs_batch_operations", "Operations of batches", ["op", "status"], registry=registry)
