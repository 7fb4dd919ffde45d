"""Names in paths."""

from urllib.parse import quote, unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import BadRequest
from stor.objects.api.places import name_in_path
from stor.objects.records import Name
from stor.web.call import Call

BEGIN = b"/v1/objects/by-key/"
letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
namespaces = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
tenants = st.text(letters, min_size=1, max_size=128)
keys = st.text(letters | st.just("/"), min_size=1, max_size=250)
safe = st.sampled_from(["", "/", "/:@!$&'()*+,;="])


def named(target):
    return name_in_path(Call("GET", target, {}))


class PathTests(SynchronousTestCase):
    @given(namespaces, tenants, keys, safe, st.booleans())
    @example("a", "a/b", "c", "", False)
    @example("a", "b", "/", "/", False)
    @example("a", "b", "c//d/", "/", True)
    @example("a", ".", "../..", "/", False)
    def test_round_trip(self, namespace, tenant, key, kept, capitals):
        """However a name is quoted it is the name that is meant, if only a slash in the tenant is quoted."""
        space = namespace.upper() if capitals else namespace
        path = f"{space}/{quote(tenant, safe='')}/{quote(key, safe=kept)}"
        self.assertEqual(named(BEGIN + path.encode()), Name(namespace, tenant, key))

    @given(
        st.binary(max_size=40)
        | st.lists(st.sampled_from([b"a", b"/", b"%2F", b"%", b"%ff", b"%00", b"A"])).map(b"".join)
    )
    def test_any(self, raw):
        """Any path is one name, or refused; a name has the bytes of the path, but for small letters."""
        raw = raw.replace(b"?", b"").replace(b"#", b"")
        try:
            name = named(BEGIN + raw)
        except BadRequest:
            return
        whole = f"{name.namespace}/{name.tenant}/{name.key}".encode()
        self.assertEqual(whole.lower(), unquote_to_bytes(raw).lower())
        self.assertGreaterEqual(raw.count(b"/"), 2)

    def test_split(self):
        """The first two segments end at a slash as it was sent."""
        for path, name in (
            (b"n/t/k", ("n", "t", "k")),
            (b"n/t/k/l", ("n", "t", "k/l")),
            (b"n/t/k%2Fl", ("n", "t", "k/l")),
            (b"n/t%2fk/l", ("n", "t/k", "l")),
            (b"N/T//", ("n", "T", "/")),
            (b"%6e/t/%2525", ("n", "t", "%25")),
            (b"n/t/a+b", ("n", "t", "a+b")),
        ):
            self.assertEqual(named(BEGIN + path), Name(*name))
        for path in (b"n%2Ft/k", b"n/t", b"n/t/", b"n//k", b"/t/k", b"n/t/%C3", b"n%2Fx/t/k"):
            with self.assertRaises(BadRequest, msg=path):
                named(BEGIN + path)
        self.assertRaises(BadRequest, named, b"/v1/objects/by%2Dkey/n/t/k")
