"""Names of files for names of anything."""
from urllib.parse import quote


def file_stem(name: str) -> str:
    """A name, as of a task or a source, as a part of a file's name.

    Letters of ASCII, digits, '_', '.', '-' and '~' stay; every other byte becomes '=' and its two
    hexadecimal digits, so that different names stay different, none leaves its folder, and links
    need no escapes.
    """
    return quote(name, safe='').replace('%', '=')
