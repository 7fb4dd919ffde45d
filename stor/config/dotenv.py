"""`.env`, as far as everybody agrees on it: NAME=value, quotes, comments, `export`."""

import re

_LINE = re.compile(
    r"""^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
        (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\#'"]\S*(?:[ \t]+[^\s\#]\S*)*)?)
        \s*(?:\#.*)?$""",
    re.VERBOSE,
)


def parse_dotenv(text: str) -> dict[str, str]:
    """Read `text`; ValueError names the first line that is none, without showing it."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"line {number} is not NAME=value")
        if (double := match["double"]) is not None:
            value = re.sub(r"\\(.)", r"\1", double)
        else:
            value = match["single"] or match["bare"] or ""
        found[match["name"]] = value
    return found
