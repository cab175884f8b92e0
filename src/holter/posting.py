"""Posts JSON to where a URL points: one request, one answer, and nothing kept open between them."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from holter.arguments import positive_seconds
from holter.descriptors import lent
from holter.errors import ConfigurationError
from holter.notice import Undelivered
from holter.version import __version__

_SALT: Final = os.urandom(16)
_MOST_DIGITS: Final = 5
_MOST_READ: Final = 65_536
# What the receiver will never take, however often it is sent.
_REFUSED: Final = frozenset({400, 405, 406, 411, 413, 414, 415, 422, 431, 501})


class Address(NamedTuple):
    """A URL of http or https, apart; ``shown`` is what may be printed of it: neither path nor password."""

    scheme: str
    host: str
    port: int | None
    path: str
    authorization: str

    @classmethod
    def of(cls, url: object) -> Address:
        """
        Return the parts of *url*.

        Raises:
            ConfigurationError: it is none, or not of http or https; says nothing that may be secret.
        """
        expected = "url must be that of a receiver, such as 'https://alerts.example.com/hook'"
        if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigurationError(f"{expected}, printable ASCII without spaces; got {type(url).__name__}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError(f"{expected}; got one that cannot be taken apart") from None
        if parts.scheme not in ("http", "https"):
            raise ConfigurationError(f"{expected}; got one of scheme {parts.scheme[:20]!r}: use http or https")
        if not parts.hostname:
            raise ConfigurationError(f"{expected}; got one without a host")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port, path, _basic(parts))

    @property
    def shown(self) -> str:
        """Scheme, host and port, as in "https://alerts.example.com"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port is None else f":{self.port}")

    def below(self, path: str) -> Address:
        """Return the address of *path* under this one."""
        return self._replace(path=self.path.partition("?")[0].rstrip("/") + path)


def _basic(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def checked_headers(headers: object) -> dict[str, str]:
    """
    Return a copy of *headers*.

    Raises:
        ConfigurationError: they cannot be sent; says nothing of their values.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a dict of names to values, got {type(headers).__name__}")
    for name, value in headers.items():
        is_name = isinstance(name, str) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not is_name or not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ConfigurationError(
                "headers must have names of letters, digits and '-', and values of printable ASCII, got "
                f"{name!r:.60} with a {type(value).__name__}"
            )
    return dict(headers)


def secret_mark(*secrets: object) -> str:
    """Return what tells settings with other *secrets* apart within this process, and says nothing of them."""
    return hashlib.sha256(_SALT + repr(secrets).encode("utf-8", "replace")).hexdigest()[:8]


class Destination:
    """
    Where and how an exporter of the name *kind* posts: what its *url* and options say.

    ``where`` may be printed; ``receiver`` tells it from others in every process and may be secret; ``mark`` does so
    within this one and is not.

    Raises:
        ConfigurationError: one of them cannot work.
    """

    def __init__(
        self,
        kind: str,
        url: object,
        *,
        headers: object = None,
        timeout: object = 10.0,
        context: object = None,
        name: object = None,
    ) -> None:
        self.address = Address.of(url)
        self._headers = checked_headers(headers)
        self.timeout = positive_seconds("timeout", timeout)
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise ConfigurationError(f"context must be an ssl.SSLContext, got {type(context).__name__}")
        if name is not None and not (isinstance(name, str) and name):
            raise ConfigurationError(f"name must be a str that is not empty, got {name!r:.60}")
        self._context = context
        self.where = f"{kind} {self.address.shown}"
        self.receiver = f"{kind} {name or url}"
        self.mark = secret_mark(url, sorted(self._headers.items()), id(context) if context else None, name)

    def post(self, body: bytes, timeout: float, *, path: str = "", headers: Mapping[str, str] | None = None) -> None:
        """
        Post *body* to *path* below the URL, and return when it was taken.

        Raises:
            Undelivered: it was not, or that is not known.
        """
        address = self.address.below(path) if path else self.address
        full = {**(headers or {}), **self._headers}
        post(address, body, full, timeout=min(timeout, self.timeout), context=self._context)


def post(
    address: Address, body: bytes, headers: Mapping[str, str], *, timeout: float, context: ssl.SSLContext | None = None
) -> None:
    """
    Post *body*, JSON, and return when the receiver has taken it.

    Each step, as to connect or to wait for the answer, takes at most *timeout* seconds. Redirections are not followed;
    proxies are those of the environment.

    Raises:
        Undelivered: it was not taken, or that is not known.
    """
    usual = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": f"holter/{__version__}",
        "Connection": "close",
    }
    if address.authorization:
        usual["Authorization"] = address.authorization
    given = {name.lower() for name in headers}
    full = {name: value for name, value in usual.items() if name.lower() not in given} | dict(headers)
    try:
        with _connected(address, timeout, context) as (connection, path, more):
            connection.request("POST", path, body, full | more)
            answer = connection.getresponse()
            answer.read(_MOST_READ)
            status, again = answer.status, answer.getheader("Retry-After") or ""
    except (OSError, HTTPException, ValueError) as error:
        raise Undelivered(_words(error)) from None
    if not 200 <= status < 300:  # noqa: PLR2004 - what the receiver has taken
        said = f"it answers {status}" + (f" {answer.reason}"[:60] if answer.reason else "")
        asked = float(again) if again.isdigit() and len(again) <= _MOST_DIGITS else 0.0
        raise Undelivered(said, is_final=status in _REFUSED, again_seconds=asked)


@contextmanager
def _connected(
    address: Address, timeout: float, context: ssl.SSLContext | None
) -> Iterator[tuple[HTTPConnection, str, dict[str, str]]]:
    """Yield a connection, what to ask it for, and the headers that a proxy wants beside that."""
    proxy, path, more = _proxy(address), address.path, {}
    host, port = (address.host, address.port) if proxy is None else (proxy.hostname or "", proxy.port)
    told = "" if proxy is None else _basic(proxy)
    authorization = {"Proxy-Authorization": told} if told else {}
    connection: HTTPConnection
    if address.scheme == "https":
        connection = HTTPSConnection(host, port, timeout=timeout, context=context or ssl.create_default_context())
        if proxy is not None:
            connection.set_tunnel(address.host, address.port, authorization)
    else:
        connection = HTTPConnection(host, port, timeout=timeout)
        if proxy is not None:
            path, more = f"{address.shown}{path}", {"Host": address.shown.partition("//")[2], **authorization}
    try:
        connection.connect()
        # A child that is forked meanwhile would hold the connection for as long as it lives. The file keeps its
        # number from being given to another one while it is lent.
        with closing(connection.sock.makefile("rb")), lent(connection.sock.fileno()):
            yield connection, path, more
    finally:
        with suppress(OSError):
            connection.close()


def _proxy(address: Address) -> SplitResult | None:
    """Return the proxy that the environment names for *address*, None without one; this machine itself needs none."""
    named = getproxies().get(address.scheme)
    if not named or _is_here(address.host) or proxy_bypass(address.host):
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    return parts if parts.hostname else None


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _words(error: Exception) -> str:
    """Return what went wrong, without what may be secret."""
    if isinstance(error, TimeoutError | socket.timeout):
        return "it does not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = str(error)
    return said[:100] if said.startswith("Tunnel connection failed") else type(error).__name__
