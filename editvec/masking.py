"""Secrets in texts: what `masked` returns may be printed, logged, stored and reported.

A secret is a password, key or token: in the user part of a URL, in a parameter of its query, or
anywhere in a text once its URL was given to `remember`. Standard library only: it stands below
every package.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"

# A URL between quotes may hold spaces. One slash: what is left of a URL that was taken for a path.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,30}:/"
_URL = re.compile(
    rf"(?P<quote>['\"`])(?P<quoted>{_SCHEME}(?:(?!(?P=quote))[^\n])*)(?P=quote)"
    rf"|(?P<bare>{_SCHEME}[^\s<>\"]*)"
)
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_NEXT_URL = re.compile(_SCHEME)
# fsspec's `filecache::s3://bucket`
_CHAIN = re.compile(rf"::(?={_SCHEME})")
_PARTS = re.compile(r"(?P<scheme>[^:]+):(?P<slashes>/+)(?P<rest>.*)", re.DOTALL)
_PLAIN_HOST = re.compile(r"(?:\[[^\]@]*\]|[^:@\[\]]+)(?::\d*)?")
_NAME = re.compile(r"(?:[?&;#]|\\u0026)(?P<name>[^=&;#?\s\\]{1,200})=")
_VALUE_END = re.compile(r"&|#|\\u0026")
_TRAILING = re.compile(r"['\"`)\]}.,:;>]*\Z")

# Whose users are names of accounts; elsewhere the user may be a token, or half of a key.
_NAMED_WITH_PASSWORD = frozenset(
    {"postgresql", "postgres", "mysql", "mariadb", "amqp", "amqps", "pyamqp", "redis", "rediss"}
    | {"ftp", "ftps", "sftp", "ssh", "smb", "hdfs", "webhdfs"}
)
_NAMED_ALONE = _NAMED_WITH_PASSWORD - {"redis", "rediss"}

_SECRET_NAMES = frozenset({"sig", "sas", "auth", "pass", "pwd", "jwt"})
_SECRET_WORDS = (
    *("passw", "passphrase", "secret", "token", "signature", "credential"),
    *("accesskey", "authorization"),
)
_FILE_NAMES = frozenset({"sslkey"})  # libpq's: a file

# Outside of URLs: words of libpq, and headers.
_SETTING = re.compile(
    r"(?P<name>(?<![A-Za-z])(?:ssl_?)?(?:password|passwd)|secret_access_key|signature)"
    r"(?P<sign>\s*=\s*)(?!\*\*\*)"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s,;&)'\"]*[^\s,;&)'\":.])",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(?P<name>authorization['\"]?\s*[:=]\s*)"
    r"(?:(?P<mark>b?['\"])[^'\"\n]*|(?:(?:basic|bearer|digest|aws4-hmac-sha256)\s+)?[^\s'\",]+)",
    re.IGNORECASE,
)

# Apart from its URL, a shorter secret is replaced where it stands alone: as a part of words it
# would spoil the text. One of three characters is none, and would do so as a number.
_LONG, _SHORTEST = 8, 4
_ALONE_BEFORE, _ALONE_AFTER = (
    r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))",
    r"(?![A-Za-z0-9])",
)


class MaskedError(Exception):
    """An error whose text shows no secret; the base of all of ours."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(arg) if isinstance(arg, str) else arg for arg in args))


def masked(text: str) -> str:
    """A text without secrets: those of its URLs, and those that are known, wherever they stand.

    Example:
        >>> masked("cannot reach amqp://ada:tulip@host/faces?password=tulip")
        'cannot reach amqp://ada:***@host/faces?password=***'
    """
    text = masked_urls(_known.replaced(text))
    text = _SETTING.sub(rf"\g<name>\g<sign>{MASK}", text)
    return _HEADER.sub(lambda header: f"{header['name']}{header['mark'] or ''}{MASK}", text)


def masked_urls(text: str) -> str:
    """A text whose URLs show no secret; all else stays as it is, for results of commands.

    Example:
        >>> masked_urls("s3://KEY:SECRET@bucket/a https://host/b?size=1&sig=abc")
        's3://***:***@bucket/a https://host/b?size=1&sig=***'
    """
    if ":/" not in text:
        return text
    return _URL.sub(_masked_match, text)


def remember(url: str) -> None:
    """Keeps the secrets of a URL: `masked` replaces them also where they stand apart from it."""
    for link in _CHAIN.split(url):
        parts = _PARTS.fullmatch(link)
        if parts is None:
            continue
        rest = parts["rest"]
        login = _login_of(parts["slashes"], rest, is_configured=True)
        if login is not None:
            rest = login.rest
            is_shown = _shown_user(parts["scheme"], login) == login.user
            (_known.add_public if is_shown else _known.add_secret)(login.user)
            _known.add_secret(login.password or "", unquote(login.user).partition(":")[2])
        _known.add_public(parts["scheme"], *re.split(r"[/:]", re.split(r"[?#]", rest)[0]))
        _known.add_secret(*(rest[begin:end] for begin, end in _secret_values(rest)))


def is_url(path: Path) -> bool:
    """True of a path that was given as a URL, such as `s3://bucket/pictures`."""
    return len(path.parts) > 1 and _NEXT_URL.fullmatch(f"{path.parts[0]}/") is not None


def remember_secret(secret: str) -> None:
    """Keeps a secret that comes by itself, such as PGPASSWORD."""
    _known.add_secret(secret)


# --- what is known ---


class _Known:
    """The secrets of this process, in all forms in which a text may hold them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._public: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add_secret(self, *secrets: str) -> None:
        """Adds secrets as they were written; empty ones are none."""
        new = {form for secret in secrets for form in _forms(secret)}
        self._change(self._secrets, new)

    def add_public(self, *words: str) -> None:
        """Adds what a URL shows: a password of the same spelling is no secret elsewhere."""
        self._change(self._public, {form for word in words for form in (word, unquote(word))})

    def replaced(self, text: str) -> str:
        """The text with the mask for every secret."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def _change(self, words: set[str], new: set[str]) -> None:
        with self._lock:
            if new <= words:
                return
            words |= new
            secrets = sorted(self._secrets - self._public, key=len, reverse=True)
            patterns = [
                one if len(secret) >= _LONG else f"{_ALONE_BEFORE}{one}{_ALONE_AFTER}"
                for secret in secrets
                for one in (re.escape(secret),)
            ]
            self._pattern = re.compile("|".join(patterns)) if patterns else None


def _forms(secret: str) -> Iterator[str]:
    """A secret as it was written, decoded, and as other programs write it."""
    # who reads the URL strictly ends its host, and tells of a wrong port, at the first of these
    pieces = re.split(r"[/?#@:]", secret)
    for plain in {secret, unquote(secret), unquote_plus(secret), *pieces}:
        # asterisks are what a text shows in the place of a secret
        if len(plain) >= _SHORTEST and plain.strip("* "):
            escaped = plain.encode("unicode_escape").decode("ascii")
            for encoded in (quote(plain, safe=""), quote(plain), quote_plus(plain)):
                yield from {encoded, _PERCENT.sub(lambda code: code[0].lower(), encoded)}
            yield from {plain, escaped, repr(plain)[1:-1], json.dumps(plain)[1:-1]}
            yield _as_html(plain)


def _as_html(text: str) -> str:
    """A text as pages have it. Imported late: every command begins here, and few have a secret."""
    import html

    return html.escape(text)


_known = _Known()


# --- URLs ---


class _Login(NamedTuple):
    """What a URL has before its @, and all after it; the password is None where there is none."""

    user: str
    password: str | None
    rest: str


def _masked_match(match: re.Match[str]) -> str:
    if match["bare"] is not None:
        return _masked_url(match["bare"])
    return f"{match['quote']}{_masked_url(match['quoted'])}{match['quote']}"


def _masked_url(url: str) -> str:
    """A URL, and those that follow in it, as in a list or a parameter."""
    pieces: list[str] = []
    while (parts := _PARTS.fullmatch(url)) is not None:
        pieces.append(f"{parts['scheme']}:{parts['slashes']}")
        url = parts["rest"]
        login = _login_of(parts["slashes"], url, is_configured=False)
        if login is not None:
            password = "" if login.password is None else f":{MASK}"
            pieces.append(f"{_shown_user(parts['scheme'], login)}{password}@")
            url = login.rest
        following = _NEXT_URL.search(url)
        if following is None:
            break
        pieces.append(url[: following.start()])
        url = url[following.start() :]
    return _masked_query("".join(pieces) + url)


def _login_of(slashes: str, rest: str, *, is_configured: bool) -> _Login | None:
    """What stands before the last @, unless the URL begins with a host.

    A password may hold a slash, or an @, that nobody encoded. Its first characters may look like a
    port; of a URL that somebody configured, a later @ tells.
    """
    before, at, after = rest.rpartition("@")
    if not at or len(slashes) > 2:  # three slashes: there is no host, and all is a path
        return None
    first = re.split(r"[/?#]", rest, maxsplit=1)[0]
    has_host = bool(first) and not first.startswith(":") and _PLAIN_HOST.fullmatch(first)
    if has_host and not (is_configured and ":" in first):
        return None
    user, colon, password = before.partition(":")
    return _Login(user, password if colon else None, after)


def _shown_user(scheme: str, login: _Login) -> str:
    """The user of a URL, or the mask where it may be a secret."""
    dialect = scheme.lower().partition("+")[0]
    named = _NAMED_ALONE if login.password is None else _NAMED_WITH_PASSWORD
    is_named = dialect in named and "%3a" not in login.user.lower()
    is_password = login.user == login.password or unquote(login.user) == login.password
    return login.user if (is_named and not is_password) or not login.user else MASK


def _masked_query(text: str) -> str:
    pieces: list[str] = []
    begin = 0
    for start, end in _secret_values(text):
        pieces += [text[begin:start], MASK]
        begin = end
    return "".join(pieces) + text[begin:]


def _secret_values(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of a query lie that are secrets."""
    end = 0
    for name in _NAME.finditer(text):
        if name.start() >= end and _is_secret(name["name"]):
            stop = _VALUE_END.search(text, name.end())
            end = stop.start() if stop else name.end() + _length_of_last(text[name.end() :])
            yield name.end(), end


def _length_of_last(value: str) -> int:
    """How much of it is no bracket or full stop of the sentence around the URL."""
    return len(_TRAILING.sub("", value))


def _is_secret(name: str) -> bool:
    """Whether a parameter of this name holds a secret."""
    plain = unquote(name).lower()
    letters = re.sub(r"[^a-z0-9]", "", plain)
    if letters in _FILE_NAMES:
        return False
    return (
        letters in _SECRET_NAMES
        or letters.endswith("key")
        or letters.startswith(("xamz", "xgoog"))
        or any(word in letters for word in _SECRET_WORDS)
    )
