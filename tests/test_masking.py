"""Secrets in texts: which parts of a URL are hidden, and what is known of it elsewhere."""

import html
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from editvec import masking
from editvec.masking import is_url, masked, masked_urls, remember, remember_secret
from editvec.printing import printable_streams

WHOLE = [
    ("redis://host/0", "redis://host/0"),
    ("redis://:p@ss@host/0", "redis://:***@host/0"),
    ("redis://:12345/6@host/0", "redis://:***@host/0"),
    ("redis://tulip@host/0", "redis://***@host/0"),
    ("amqp://ada:tulip@host/x", "amqp://ada:***@host/x"),
    ("amqps://ada:tu/l?i#p@host/x", "amqps://ada:***@host/x"),
    ("postgresql://editor@host/faces", "postgresql://editor@host/faces"),
    ("postgresql+psycopg://ada:t%40lip@[::1]:5432/x", "postgresql+psycopg://ada:***@[::1]:5432/x"),
    ("postgresql://ada%3Atulip@host/x", "postgresql://***@host/x"),
    ("postgresql:///x?password=tulip&host=h", "postgresql:///x?password=***&host=h"),
    (
        "postgresql://h/x?sslkey=/a.pem&SSLPassword=tu;lip#x",
        "postgresql://h/x?sslkey=/a.pem&SSLPassword=***#x",
    ),
    ("s3://KEY:TU/LI+P@bucket/p", "s3://***:***@bucket/p"),
    ("S3://KEY@bucket/p", "S3://***@bucket/p"),
    ("filecache::s3://KEY:TULIP@bucket/p", "filecache::s3://***:***@bucket/p"),
    ("ftp://ada:tulip@host/p", "ftp://ada:***@host/p"),
    ("sftp://ada:@host/p", "sftp://ada:***@host/p"),
    ("https://tulip@host/p", "https://***@host/p"),
    ("https://host/p?a=1&sig=tu%2Flip%3D&se=2", "https://host/p?a=1&sig=***&se=2"),
    ("https://host/p?X-Amz-Credential=t/u&X-Amz-Signature=l", None),
    ("https://host/p?x-goog-signature=tulip", "https://host/p?x-goog-signature=***"),
    ("https://host/p?AccessKeyId=tulip&api_key=tulip", None),
    ("https://host/p?pass%77ord=tulip", "https://host/p?pass%77ord=***"),
    ("https://host/p#access_token=tulip", "https://host/p#access_token=***"),
    ("https://host/p?to=redis://:tulip@host/0&x=1", "https://host/p?to=redis://:***@host/0&x=1"),
    ("http://a/b,redis://:tulip@host", "http://a/b,redis://:***@host"),
    ("filesystem://ada:tulip@host/p", "filesystem://***:***@host/p"),
    ("s3:/KEY:tulip@bucket/p", "s3:/***:***@bucket/p"),
    # no secrets
    ("sqlite:////home/ada@work/x.db", "sqlite:////home/ada@work/x.db"),
    ("filesystem:///home/ada@work/broker", "filesystem:///home/ada@work/broker"),
    ("https://host:8080/@ada/2x.png?x=ada@work", "https://host:8080/@ada/2x.png?x=ada@work"),
    ("s3://bucket/smile@2x.png", "s3://bucket/smile@2x.png"),
    ("https://host/design?monkeys=2&sign=1", "https://host/design?monkeys=2&sign=1"),
    ("avatars/smile@1 at 10:30", "avatars/smile@1 at 10:30"),
]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests gave is forgotten for the length of one."""
    monkeypatch.setattr(masking, "_known", masking._Known())


@pytest.mark.parametrize(("url", "shown"), WHOLE)
def test_a_url_shows_no_secret_and_all_else(url: str, shown: str | None) -> None:
    found = masked_urls(url)

    assert "tulip" not in found.lower()
    assert "tu/l" not in found.lower()
    assert shown is None or found == shown
    assert masked(url) == found
    assert masked(found) == found, "it may be masked twice"


@pytest.mark.parametrize(("url", "shown"), WHOLE)
@pytest.mark.parametrize(
    "sentence",
    ["cannot open %s.", "'%s' (twice: %s): no", '{"a": "%s", "b": "x@y"}', "a\n%s\tb", "<b>%s</b>"],
)
def test_a_url_in_a_sentence_is_the_same(sentence: str, url: str, shown: str | None) -> None:
    if shown is not None:
        assert masked_urls(sentence.replace("%s", url)) == sentence.replace("%s", shown)


def test_a_url_between_quotes_may_hold_spaces() -> None:
    for mark in "'\"`":
        text = f"got {mark}redis://:tu lip@host/0{mark}, not {mark}x{mark}"
        assert masked(text) == f"got {mark}redis://:***@host/0{mark}, not {mark}x{mark}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "invalid dsn: user=ada password=tulip host=x",
            "invalid dsn: user=ada password=*** host=x",
        ),
        ("password = 'tu lip'", "password = ***"),
        ("sslpassword=tulip: no such key", "sslpassword=***: no such key"),
        ("'Authorization': 'Basic dHVsaXA='", "'Authorization': '***'"),
        ("Authorization: Bearer tulip", "Authorization: ***"),
        (
            "'Authorization': b'AWS4-HMAC Credential=tu/lip, Signature=ab'",
            "'Authorization': b'***'",
        ),
        ("authorization: AWS4-HMAC-SHA256 Credential=tulip, Signature=1a", None),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_settings_and_headers_outside_of_urls_are_masked(text: str, shown: str | None) -> None:
    found = masked(text)

    assert "tulip" not in found
    assert "1a" not in found
    assert shown is None or found == shown


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("redis://:tulip-bulb@host/0", "tulip-bulb"),
        ("redis://:tulip@host/0", "tulip"),
        ("redis://ada:123/45@host/0", "123/45"),
        ("redis://:my own tulip@host/0", "my own tulip"),
        ("postgresql://ada:t%40lip%2F9@h/x", "t@lip/9"),
        ("postgresql://h/x?sslpassword=tulip%20bulb", "tulip bulb"),
        ("s3://KEYOFTULIP:tu/lip+x@b/p", "KEYOFTULIP"),
        ("s3://KEYOFTULIP:tu/lip+x@b/p", "tu/lip+x"),
        ("filecache::s3://KEYOFTULIP:tulips@b/p", "tulips"),
        ("https://token-of-tulip@h/p", "token-of-tulip"),
        ("https://h/p?sig=tu%2Flip%3D", "tu/lip="),
        ("amqp://ada:tülip'x\"<&>@h/", "tülip'x\"<&>"),
    ],
)
def test_the_secrets_of_a_configured_url_are_known_wherever_they_stand(
    url: str, secret: str
) -> None:
    remember(url)

    forms = {secret, quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    for form in (*forms, html.escape(secret), secret.encode("unicode_escape").decode()):
        assert masked(f"wrong: {form}!") == "wrong: ***!" or form not in masked(f"wrong: {form}!")
        assert form not in masked(f"host={form}, %40{form}\n'{form}'")
    assert secret not in masked(url)


def test_what_a_url_shows_is_no_secret_elsewhere() -> None:
    remember("postgresql://ada:faces@127.0.0.1/faces")

    text = "database postgresql://ada:***@127.0.0.1/faces: no faces"
    assert masked(text) == text


def test_a_user_of_the_same_spelling_as_the_password_is_hidden_too() -> None:
    assert masked("amqp://guest:guest@host//") == "amqp://***:***@host//"
    remember("amqp://guest:guest@host//")
    assert masked("amqp://guest:**@host//: no guest") == "amqp://***:***@host//: no ***"


def test_a_short_secret_spoils_no_words_and_a_tiny_one_no_numbers() -> None:
    remember("redis://:smile@host/0")
    remember("https://host/x?auth=1")

    assert masked("1 smiley of smiles is no smile") == "1 smiley of smiles is no ***"


def test_an_empty_password_and_one_that_is_masked_already_are_no_secrets() -> None:
    for url in ("redis://:@host/0", "redis://:***@host/0", "no url", "", "a:b", "://:x@y"):
        remember(url)
    remember_secret("")

    assert masked("*** a ** b") == "*** a ** b"


def test_a_password_is_known_in_both_ways_to_encode_it() -> None:
    remember("postgresql://ada:t%40lip%2F9@h/x")

    assert masked("t%40lip%2F9 t%40lip%2f9") == "*** ***"


def test_a_password_of_its_own_variable_is_known() -> None:
    remember_secret("tulip-bulb")

    assert masked("FATAL: tulip-bulb") == "FATAL: ***"


@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, "'" + "a:/" * 100_000, "a://" * 5000 + "b@" * 2000, "?sig=" * 50_000],
)
def test_long_texts_take_no_time(text: str) -> None:
    before = time.process_time()
    masked(text)

    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("s3://bucket/x", True),
        ("ftp://u:p@h/x", True),
        ("a/b", False),
        ("/a:/b", False),
        ("a:", False),
    ],
)
def test_a_path_that_was_given_as_a_url_is_known(path: str, is_one: bool) -> None:
    assert is_url(Path(path)) is is_one


def test_streams_mask_what_is_written_and_results_keep_their_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remember("redis://:tulip@host/0")

    with printable_streams():
        for stream in (sys.stdout, sys.stderr):
            stream.write("tulip amqp://ada:other@host/0\n")

    shown = capsys.readouterr()
    assert shown.out == "tulip amqp://ada:***@host/0\n"
    assert shown.err == "*** amqp://ada:***@host/0\n"


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    """A log file with the formatter of the workers."""
    from editvec.batch.workers.log import MaskingFormatter

    handler = logging.FileHandler(tmp_path / "log")
    handler.setFormatter(MaskingFormatter("%(name)s %(message)s"))
    logging.getLogger().addHandler(handler)
    yield tmp_path / "log"
    logging.getLogger().removeHandler(handler)
    handler.close()


def test_logs_of_every_library_and_their_tracebacks_are_masked(logged: Path) -> None:
    remember("redis://:tulip-bulb@host/0")
    try:
        raise ConnectionError("AUTH tulip-bulb at sftp://ada:rose@host")
    except ConnectionError:
        logging.getLogger("kombu.connection").exception("%s", "amqp://ada:daisy@host//")

    text = logged.read_text()
    assert "Traceback" in text
    assert "AUTH *** at sftp://ada:***@host" in text
    assert "kombu.connection amqp://ada:***@host//" in text
