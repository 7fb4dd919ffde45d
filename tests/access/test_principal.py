from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.access.principal import (
    PERMISSIONS,
    Principal,
    check_grant,
    check_permissions,
    is_plain,
    is_tenant,
)
from stor.errors import BadRequest, Forbidden

TENANTS = st.sampled_from([None, "a", "b"])
SETS = st.frozensets(st.sampled_from(sorted(PERMISSIONS)), max_size=4)
PRINCIPALS = st.builds(Principal, st.just("p"), SETS, TENANTS)


def powers(principal):
    """Everything a principal may do, in each tenant that it reaches."""
    reached = ["a", "b", "c", None] if principal.tenant is None else [principal.tenant]
    return {(permission, tenant) for permission in PERMISSIONS if principal.may(permission) for tenant in reached}


def granted(giver, permissions, tenant):
    """What the rule makes of a wish: a new principal, or None."""
    try:
        check_grant(giver, permissions, tenant)
    except Forbidden:
        return None
    return Principal("q", permissions, tenant)


class PermissionTests(SynchronousTestCase):
    def test_each_for_itself(self):
        """A permission gives itself; only volume:write and admin give more."""
        for held in PERMISSIONS - {"admin"}:
            also = {"volume:format"} if held == "volume:write" else set()
            found = {permission for permission in PERMISSIONS if Principal("p", frozenset({held})).may(permission)}
            self.assertEqual(found, {held} | also)
        admin = Principal("p", frozenset({"admin"}), "a")
        self.assertTrue(all(map(admin.may, PERMISSIONS)))

    def test_nothing(self):
        """Who holds nothing may do nothing, whatever it is called."""
        nobody = Principal("p", frozenset())
        self.assertFalse(any(map(nobody.may, [*PERMISSIONS, "", "volume"])))

    def test_words(self):
        """Only words of the contract are permissions, and a key has at least one."""
        check_permissions(PERMISSIONS)
        for words in (set(), {"blobs"}, {"blobs:read", "BLOBS:WRITE"}, {""}, {"*"}):
            self.assertRaises(BadRequest, check_permissions, words)

    def test_tenants(self):
        """A tenant is a line of text, and None is no tenant."""
        for good in ("a", "Ärzte & Söhne", "\u200d", "x" * 128, " "):
            self.assertTrue(is_tenant(good), good)
        for bad in (None, "", "x" * 129, "a\n", "\0", "\x7f", "\u2028", "\ud800", 5, ["a"], True):
            self.assertFalse(is_tenant(bad), repr(bad))
        self.assertFalse(is_plain("ab", 1))


class GrantTests(SynchronousTestCase):
    @given(PRINCIPALS, SETS, TENANTS)
    def test_never_more(self, giver, permissions, tenant):
        """What was granted can do nothing that its creator could not; and what is less is always granted."""
        wished = Principal("q", permissions, tenant)
        made = granted(giver, permissions, tenant)
        if made is not None:
            self.assertLessEqual(powers(made), powers(giver))
        elif giver.reaches(tenant):
            self.assertFalse(powers(wished) <= powers(giver))
        else:
            self.assertNotEqual(giver.tenant, tenant)

    @given(PRINCIPALS, st.lists(st.tuples(SETS, TENANTS), max_size=6))
    def test_chains(self, first, wishes):
        """However many keys make keys, nobody at the end can do what the first one could not."""
        giver = first
        for permissions, tenant in wishes:
            giver = granted(giver, permissions, tenant) or giver
        self.assertLessEqual(powers(giver), powers(first))

    def test_matrix(self):
        """Admins give everything; others what they hold; and a tenant keeps even its admin inside."""
        everywhere, here = Principal("p", frozenset({"admin"})), Principal("p", frozenset({"admin"}), "a")
        keeper = Principal("p", frozenset({"keys:manage", "blobs:read"}), "a")
        for giver, permission, tenant, is_allowed in (
            (everywhere, "admin", None, True),
            (everywhere, "admin", "b", True),
            (here, "admin", "a", True),
            (here, "objects:delete", "a", True),
            (here, "blobs:read", None, False),
            (here, "blobs:read", "b", False),
            (keeper, "blobs:read", "a", True),
            (keeper, "keys:manage", "a", True),
            (keeper, "blobs:write", "a", False),
            (keeper, "admin", "a", False),
            (keeper, "blobs:read", "b", False),
            (keeper, "blobs:read", None, False),
        ):
            made = granted(giver, frozenset({permission}), tenant)
            self.assertEqual(made is not None, is_allowed, (giver, permission, tenant))
