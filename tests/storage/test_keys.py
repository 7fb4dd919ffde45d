"""How keys are written as paths, and what is said about bytes as a trailer."""

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import BadRequest, Failed
from stor.storage import keys, trailer

letters = st.characters(exclude_categories=("Cs",), exclude_characters="/")
segments = st.one_of(
    st.text(letters, min_size=1, max_size=5),
    st.tuples(st.sampled_from("a%=+é日\U0001f600\0"), st.integers(70, 300)).map(lambda pair: pair[0] * pair[1]),
).filter(lambda segment: segment not in {".", ".."})
some_keys = st.lists(segments, min_size=1, max_size=6).map("/".join).filter(lambda key: len(key.encode()) <= 1024)


def key_of(path):
    """Read a path back, name by name, as a scan does."""
    key = ""
    for name in path.split(b"/"):
        mark = name[-1:]
        part = keys.name_of(name[:-1] if mark in {keys.LEAF, keys.MORE} else name)
        key += part + ("" if mark in {keys.LEAF, keys.MORE} else "/")
    return key


class PathTests(SynchronousTestCase):
    def test_readable(self):
        """An ordinary key is its own path, with a mark behind it."""
        for key, path in (
            ("notes/one.md", b"notes/one.md="),
            ("a=b/50%/c+", b"a%3db/50%25/c%2b="),
            ("é", "é=".encode()),
            ("x" * 300 + "/x", b"x" * 238 + b"+/" + b"x" * 62 + b"/x="),
            ("x" * 238, b"x" * 238 + b"+/%="),
            ("tab\t", b"tab%09="),
        ):
            self.assertEqual(keys.path_of(key), path)

    @given(some_keys)
    @example("%" * 300)
    @example("日" * 79 + "x" + "%" * 300)
    def test_there_and_back(self, key):
        """Each key has a path of names that a file system takes, and the path tells the key."""
        keys.check(key)
        path = keys.path_of(key)
        self.assertEqual(key_of(path), key)
        for name in path.split(b"/"):
            self.assertTrue(1 <= len(name) <= 255 and b"\0" not in name and name not in {b".", b".."}, name)

    @given(some_keys, some_keys)
    @example("a", "a/b")
    @example("x" * 240 + "a", "x" * 240 + "/a")
    def test_side_by_side(self, one, other):
        """No path is a folder on the way to another key's: all keys can exist at once."""
        first, second = keys.path_of(one), keys.path_of(other)
        self.assertEqual(first == second, one == other)
        self.assertFalse(second.startswith(first + b"/"))

    def test_not_ours(self):
        """Names that we would not write stand for no key."""
        for name in (b"", b"%41", b"%", b"%%", b"a=b", b"%zz", b"\xff", b"%FF", b"a%"):
            self.assertEqual(keys.name_of(name), "" if name == b"%" else None)

    def test_prefixes(self):
        """The folder of a prefix is where all its keys are."""
        self.assertEqual(keys.folder_of(""), b"")
        self.assertEqual(keys.folder_of("a/b/"), b"a/b/")
        self.assertEqual(keys.folder_of("x" * 300 + "/"), b"x" * 238 + b"+/" + b"x" * 62 + b"/")
        for prefix, may in (("a", True), ("a/..", True), ("../", False), ("a//", False), ("/", False), ("", True)):
            self.assertEqual(keys.may_begin(prefix), may)

    def test_surrogates(self):
        """What is not UTF-8 is refused, in keys and in metadata."""
        for call in (lambda: keys.check("\ud800"), lambda: keys.check_metadata(None, {"a": "\udfff"})):
            self.assertRaises(BadRequest, call)


class TrailerTests(SynchronousTestCase):
    @given(
        st.integers(0, 2**40),
        st.none() | st.text(max_size=20),
        st.dictionaries(st.text(max_size=3), st.text(max_size=40)),
    )
    def test_there_and_back(self, size, kind, metadata):
        """What was said is read again, for the size it was said of."""
        said = trailer.read(trailer.write(size, kind, metadata), size)
        self.assertEqual((said.type, said.metadata), (kind, metadata))

    def test_largest(self):
        """The largest metadata that is let through has room, whatever it is made of."""
        for letter in ('"', "\\", "é", "a"):
            metadata = {f"n{n:02}": letter * (61 // len(letter.encode())) for n in range(16)}
            keys.check_metadata("", metadata)
            self.assertEqual(len(trailer.write(2**60, "", metadata)), trailer.SIZE)

    def test_damage(self):
        """A trailer in which any byte is another, or that is cut, or of another size, is noticed."""
        whole = trailer.write(5, "text/plain", {"a": "b"})
        for at in range(0, trailer.SIZE, 7):
            torn = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            self.assertRaises(Failed, trailer.read, torn, 5)
        for torn in (b"", whole[:-1], whole[1:], bytes(trailer.SIZE)):
            self.assertRaises(Failed, trailer.read, torn, 5)
        self.assertRaises(Failed, trailer.read, whole, 6)
