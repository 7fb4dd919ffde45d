from contextlib import ExitStack
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.objects import listing, walking
from stor.objects.cursors import mark_of, read, write
from stor.objects.listing import page
from stor.objects.records import State, StorageClass
from stor.objects.searching import Order, Query, Span, behind
from tests.objects.tables import Tables, add, made, remove

LETTERS = "ab/é~\ud7ff\ue000\U0001f980\U0010ffff"
TYPES = ("text/plain", "image/png")
NAMES = ["owner", "a'b", "$.owner", "$x", "a.b", "a", "b", "0", "#", "$", "*", "%5c", "u0061"]


def seldom(*values, otherwise=None):
    """Mostly ask for nothing, so that there is something to find."""
    return st.sampled_from([otherwise] * 4 * len(values) + list(values))


keys = st.one_of(st.text("a/", max_size=4), st.text("a/", max_size=4), st.text(LETTERS, max_size=4))
objects = st.lists(
    st.builds(
        made,
        tenant=st.sampled_from(["acme", "acme", "acme", "globex", "émile"]),
        namespace=st.sampled_from(["photos", "photos", "photos", "docs", "a", "b"]),
        key=keys,
        size=st.integers(0, 5),
        at=st.integers(0, 5),
        changed=st.integers(5, 9),
        content_type=st.sampled_from(TYPES),
        storage_class=st.sampled_from(StorageClass),
        metadata=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "x", "é' ?"])),
    ),
    max_size=24,
    unique_by=lambda each: (each.name, each.name.key or each.id),
)
bounds = st.one_of(st.none(), st.integers(0, 6))
spans = st.one_of(st.just(Span()), st.builds(Span, bounds, bounds))
tenants = st.sampled_from([None, None, "acme", "acme", "globex", "nobody"])
namespaces = st.sampled_from([None, None, "photos", "photos", "docs", "other"])
listings = st.builds(
    Query,
    tenant=tenants,
    namespace=namespaces,
    prefix=st.one_of(st.just(""), st.text("a/", max_size=2), st.text(LETTERS, max_size=1)),
    delimiter=st.one_of(st.sampled_from(["", "/", "/", "/a"]), st.sampled_from(["~", "\U0010ffff", "a/", "é"])),
    content_type=seldom(*TYPES),
)
searches = st.builds(
    Query,
    tenant=tenants,
    namespace=namespaces,
    order=st.sampled_from(Order),
    descending=st.booleans(),
    prefix=seldom("a", "/", otherwise=""),
    key_contains=seldom("a", "é", "%", otherwise=""),
    content_type=seldom(*TYPES),
    storage_class=seldom(*StorageClass),
    size=spans,
    created=spans,
    updated=seldom(Span(6), Span(None, 6), Span(6, 8), otherwise=Span()),
    metadata=st.one_of(
        seldom((("owner", "x"),), (("a'b", "é' ?"), ("owner", "")), (("none", ""),), otherwise=()),
        st.tuples(st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "x"]))),
    ),
)
SMALL = {"WINDOW": 3, "_BATCH": 2, "_FOLDED_BATCH": 3, "_SCOPES": 2, "_PAGE_SCOPES": 4, "_PAGE_ROWS": 7}


def small():
    """Have bounds that a few objects reach."""
    stack = ExitStack()
    for name, value in SMALL.items():
        module = walking if name == "WINDOW" else listing
        stack.enter_context(patch.object(module, name, value))
    return stack


def is_within(span, value):
    return (span.least is None or value >= span.least) and (span.most is None or value <= span.most)


def is_meant(query, each):
    """Say what a query says, in Python."""
    return (
        query.tenant in {None, each.name.tenant}
        and query.namespace in {None, each.name.namespace}
        and each.name.key.startswith(query.prefix)
        and query.key_contains in each.name.key
        and query.content_type in {None, each.content_type}
        and query.storage_class in {None, each.storage_class}
        and is_within(query.size, each.size)
        and is_within(query.created, each.created_at)
        and is_within(query.updated, each.updated_at)
        and all(each.metadata.get(name) == value for name, value in query.metadata)
    )


def in_order(query, found):
    """Sort as a query says; the scopes always go up."""
    value = {
        Order.KEY: lambda each: (each.name.key.encode(), "" if each.name.key else each.id),
        Order.CREATED: lambda each: (each.created_at, each.id),
        Order.SIZE: lambda each: (each.size, each.id),
    }[query.order]
    by_value = sorted(found, key=value, reverse=query.descending)
    return sorted(by_value, key=lambda each: (each.name.tenant.encode(), each.name.namespace))


def folded(query, found):
    """Give the objects that stand for themselves, and the prefixes of the others for each scope."""
    single, prefixes = [], {}
    for each in found:
        head, cut, _ = each.name.key[len(query.prefix) :].partition(query.delimiter or "\0")
        if cut:
            prefixes[each.name.tenant, each.name.namespace, query.prefix + head + cut] = True
        else:
            single.append(each)
    return single, [prefix for *_, prefix in prefixes]


def through_text(query, position):
    """Have a position go over the wire."""
    mark = mark_of(query)
    return position and read(write(position, mark), mark, query.value_kind)


def all_pages(tx, kind, query, limit, between=lambda: None):
    """Read to the end; give the objects and the prefixes."""
    found, prefixes, position, pages = [], [], None, 0
    while position or not pages:
        one = page(tx, kind, query, through_text(query, position), limit)
        assert len(one.objects) + len(one.prefixes) <= limit
        found += one.objects
        prefixes += one.prefixes
        position, pages = one.next, pages + 1
        assert pages < 300
        between()
    return found, prefixes


class Listings:
    examples = 150

    @classmethod
    def setUpClass(cls):
        cls.tables = Tables(cls.kind)

    @classmethod
    def tearDownClass(cls):
        cls.tables.close()

    def check(self, query, there, limit):
        """All pages together are what the query means."""

        def work(tx):
            add(tx, self.kind, *there)
            return all_pages(tx, self.kind, query, limit)

        meant = in_order(query, (each for each in there if is_meant(query, each)))
        self.assertEqual(self.tables.look(work), folded(query, meant))

    def test_listings(self):
        """Pages of any size hold what is asked for, once and in the order of UTF-8, and groups are folded."""

        @settings(max_examples=self.examples)
        @given(query=listings, there=objects, limit=st.integers(1, 9))
        def check(query, there, limit):
            self.check(query, there, limit)
            with small():
                self.check(query, there, limit)

        check()

    def test_searches(self):
        """Every filter means what it says, in each order, up and down, on either side of a page's end."""

        @settings(max_examples=self.examples)
        @given(query=searches, there=objects, limit=st.integers(1, 9))
        def check(query, there, limit):
            self.check(query, there, limit)
            with small():
                self.check(query, there, limit)

        check()

    def test_changes_between_pages(self):
        """What is there from the first page to the last is found exactly once, and nothing twice."""

        @settings(max_examples=self.examples)
        @given(query=searches, there=objects, later=objects, limit=st.integers(1, 4), data=st.data())
        def check(query, there, later, limit, data):
            stayed = list(there)
            coming = [each for each in later if each.name not in {one.name for one in there}]

            def work(tx):
                def change():
                    if stayed and data.draw(st.booleans()):
                        remove(tx, self.kind, stayed.pop(data.draw(st.integers(0, len(stayed) - 1))))
                    if coming and data.draw(st.booleans()):
                        add(tx, self.kind, coming.pop())

                add(tx, self.kind, *there)
                return all_pages(tx, self.kind, query, limit, change)[0]

            with small():
                found = self.tables.look(work)
            self.assertEqual(len({each.id for each in found}), len(found))
            self.assertTrue(all(is_meant(query, each) for each in found))
            self.assertEqual(found, in_order(query, found))
            self.assertEqual({each.id for each in stayed if is_meant(query, each)} - {each.id for each in found}, set())

        check()

    def test_unsettled(self):
        """Those in another state come by the time of their last change; readers see none of them."""
        there = [
            made("acme" if number % 3 else "globex", key=f"{state}{number}", state=state, changed=number % 5)
            for state in State
            for number in range(8)
        ]

        def work(tx):
            add(tx, self.kind, *there)
            queries = [Query(tenant="acme", state=state) for state in State] + [Query(state=State.DELETED)]
            return [[each.id for each in all_pages(tx, self.kind, query, 3)[0]] for query in queries]

        def ids(state, *tenants):
            found = [each for each in there if each.state is state and each.name.tenant in tenants]
            by_change = sorted(found, key=lambda each: (each.updated_at, each.id))
            return [each.id for each in (found if state is State.COMMITTED else by_change)]

        with small():
            found = self.tables.look(work)
        self.assertEqual(found, [*(ids(state, "acme") for state in State), ids(State.DELETED, "acme", "globex")])

    def test_unsettled_of_others(self):
        """What others have unsettled makes no page of a tenant's, and no place in one, whatever is looked for."""
        there = [made("acme", at=number, state=State.DELETED) for number in (0, 99)]
        there += [made("globex", at=number, state=State.DELETED) for number in range(1, 99)]

        def work(tx):
            add(tx, self.kind, *there)
            found = []
            for query in (
                Query(tenant="acme", state=State.DELETED),
                Query(tenant="acme", state=State.DELETED, namespace="photos"),
                Query(tenant="acme", state=State.DELETED, content_type="text/plain", descending=True),
            ):
                first = page(tx, self.kind, query, None, 1)
                found.append((first.next and first.next.place, *all_pages(tx, self.kind, query, 1)[0]))
            return found

        with small():
            first, second, last = self.tables.look(work)
        expected = [each.id for each in there[:2]]
        for place, *found in (first, second):
            self.assertEqual((place.tie, [each.id for each in found]), (expected[0], expected))
        self.assertEqual((last[0].tie, [each.id for each in last[1:]]), (expected[1], expected[::-1]))

    def test_bounded_by_bytes(self):
        """A page of objects with much metadata is short, however many were asked for."""
        there = [made(key=f"{number:04}", metadata={"much": "x" * 8000}) for number in range(600)]

        def work(tx):
            add(tx, self.kind, *there)
            first = page(tx, self.kind, Query(tenant="acme"), None, 1000)
            return len(first.objects), len(all_pages(tx, self.kind, Query(tenant="acme"), 1000)[0])

        self.assertEqual(self.tables.look(work), ((1 << 20) // (8000 + 4 + 4 + 512) + 1, 600))

    def test_last_page(self):
        """A page that ends where the objects end says so, folded or not."""

        def work(tx):
            add(tx, self.kind, *(made(key=f"{number}/{leaf}") for number in range(4) for leaf in "xy"))
            flat = page(tx, self.kind, Query(tenant="acme"), None, 8)
            fold = page(tx, self.kind, Query(tenant="acme", namespace="photos", delimiter="/"), None, 4)
            return len(flat.objects), flat.next, fold.prefixes, fold.next

        self.assertEqual(self.tables.look(work), (8, None, ["0/", "1/", "2/", "3/"], None))

    def test_many_scopes(self):
        """Where few of many namespaces are meant, pages may be empty, and none of what is meant is missed."""
        there = [made(f"t{number:03}", "photos" if number % 37 == 36 else "docs", "k") for number in range(150)]

        def work(tx):
            add(tx, self.kind, *there)
            first = page(tx, self.kind, Query(namespace="photos"), None, 9)
            return first.objects, all_pages(tx, self.kind, Query(namespace="photos"), 9)[0]

        with small():
            first, found = self.tables.look(work)
        self.assertEqual((first, [each.name.tenant for each in found]), ([], ["t036", "t073", "t110", "t147"]))


class SqliteListingTests(Listings, SynchronousTestCase):
    kind = "sqlite"


class PostgresListingTests(Listings, SynchronousTestCase):
    kind = "postgresql"
    examples = 60


class BehindTests(SynchronousTestCase):
    @given(prefix=st.text(LETTERS, max_size=4), key=st.text(LETTERS, max_size=5))
    def test_behind(self, prefix, key):
        """It parts the keys that begin with a prefix from the later ones, in the order of UTF-8."""
        end = behind(prefix)
        begins = key.startswith(prefix)
        is_before_end = end is None or key.encode() < end.encode()
        self.assertEqual(begins, key.encode() >= prefix.encode() and is_before_end)
