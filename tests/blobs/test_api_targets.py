from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.access.principal import NOBODYS, Principal
from stor.blobs.api.targets import Target, target_of, tenant_of
from stor.blobs.tenants import folder_of
from stor.errors import BadRequest, Forbidden
from stor.web.call import Call


def call(principal=None, **headers):
    made = Call("GET", b"/", {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
    made.principal = principal
    return made


class TargetTests(SynchronousTestCase):
    def test_plain(self):
        """What begins with /blob/ is plain, whatever follows."""
        self.assertEqual(target_of("/blob/a/b.md"), Target("a/b.md"))
        self.assertEqual(target_of("/blob/a/blob/b.md"), Target("a/blob/b.md"))
        self.assertEqual(target_of("/blob/blob/b"), Target("blob/b"))

    def test_namespaced(self):
        """The first /blob/ parts namespace and path."""
        self.assertEqual(target_of("/a/blob/b/c.md"), Target("a/b/c.md", "a"))
        self.assertEqual(target_of("/a/b/blob/c/blob/d"), Target("a/b/c/blob/d", "a/b"))
        self.assertEqual(target_of("/a/blob/blob/b"), Target("a/blob/b", "a"))

    def test_taken(self):
        """A namespace that the other routes would hide is refused."""
        for path in "/sync/a/blob/b", "/sync/blob/b":
            with self.assertRaises(BadRequest):
                target_of(path)

    @given(st.text("ab/", min_size=1), st.text("ab/", min_size=1))
    def test_one_file(self, namespace, path):
        """Both dialects mean one file by one path of the tree."""
        if "/blob/" not in f"{namespace}/blob/":
            return
        found = target_of(f"/{namespace}/blob/{path}")
        self.assertEqual(found.path, target_of(f"/blob/{found.path}").path)


class TenantTests(SynchronousTestCase):
    def test_chosen(self):
        """A credential of one tenant has its tree, of none the root, of all the root or the one it names."""
        one, every = Principal("a", frozenset(), "acme"), Principal("b", frozenset())
        nobodys = Principal("c", frozenset(), NOBODYS)
        self.assertEqual(tenant_of(call(one)), "acme")
        self.assertEqual(tenant_of(call(one, x_tenant="acme")), "acme")
        self.assertIsNone(tenant_of(call(every)))
        self.assertEqual(tenant_of(call(every, x_tenant="other")), "other")
        self.assertIsNone(tenant_of(call(nobodys)))
        for confined in one, nobodys:
            with self.assertRaises(Forbidden):
                tenant_of(call(confined, x_tenant="other"))

    def test_folders(self):
        """Plain names stay, and no name leads out of its place."""
        self.assertEqual(folder_of("acme-1.eu"), "acme-1.eu")
        self.assertEqual([folder_of(name) for name in (".", "..", "a/b", "é")], ["%2E", "%2E.", "a%2Fb", "%C3%A9"])
        self.assertEqual([folder_of(name) for name in ("a.stor", ".stor")], ["a%2Estor", "%2Estor"])
        for wrong in "", "x" * 201, "\udc80":
            with self.assertRaises(BadRequest):
                folder_of(wrong)

    @given(st.sets(st.text(min_size=1, max_size=16), min_size=2, max_size=2))
    def test_apart(self, names):
        """Two tenants never share a folder."""
        self.assertEqual(len({folder_of(name) for name in names}), 2)
