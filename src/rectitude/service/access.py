"""Who asks, and what they may: API keys, page sessions, rate limits, and the checks that keep other sites out.

Without a key in the store and bound to this machine alone, whoever is at the machine is the operator. With a key, every
request needs one: ``Authorization: Bearer rk_…``, or a page session that was opened with it. What each route allows is
declared by :func:`require` or :func:`everybody`, and a test refuses a route that declares nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from rectitude.core.errors import ConfigError
from rectitude.service.config import ServiceConfig, is_loopback
from rectitude.service.store import KeyInfo, Role, Store

if TYPE_CHECKING:
    from rectitude.service.service import Service

COOKIE = "rectitude-session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"}
_SAFE = ("GET", "HEAD", "OPTIONS")
_KEY_SECONDS = 1.0
_MOST_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: As it stands in the trail: ``local``, ``key:ID`` or ``person:DIGEST``.
        role: What they may do.
        user: The person a person's key belongs to; None once they were deleted.
        subject: Keyed digest of that person, also after their deletion.
        by: ``local``, ``key`` or ``session``.
    """

    name: str
    role: Role
    user: str | None = None
    subject: str | None = None
    by: str = "key"

    @property
    def is_admin(self) -> bool:
        """May they do everything?"""
        return self.role == "admin"


LOCAL = Principal("local", "admin", by="local")


def principal_of_key(key: KeyInfo, by: str = "key") -> Principal:
    """Whoever holds a key."""
    name = f"person:{key.subject}" if key.role == "person" else f"key:{key.id}"
    return Principal(name, key.role, key.user, key.subject, by)


# ---- rates -----------------------------------------------------------------------------------------------------------


class Limiter:
    """Token buckets, a bounded number of them: the one not asked for longest goes first.

    Args:
        burst: Tokens of a full bucket.
        most: Buckets kept.
        clock: Seconds, never backwards.
    """

    def __init__(self, burst: int, most: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._most, self._clock = burst, most, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str, per_minute: float, cost: float = 1.0) -> float:
        """Take ``cost`` tokens; 0.0 where they were there, else the seconds until they will be.

        Args:
            name: Whose bucket.
            per_minute: Tokens that flow in; 0 sets no limit.
            cost: Tokens taken, at most what a bucket holds.
        """
        if per_minute <= 0:
            return 0.0
        rate, moment = per_minute / 60, self._clock()
        cost = min(cost, float(self._burst))
        with self._lock:
            level, since = self._buckets.pop(name, (float(self._burst), moment))
            level = min(float(self._burst), level + (moment - since) * rate)
            missing = cost - level
            self._buckets[name] = (level if missing > 0 else level - cost, moment)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return max(0.0, missing / rate)

    def __len__(self) -> int:
        return len(self._buckets)


# ---- sessions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """A page session: what the signed cookie says.

    Attributes:
        key: Id of the key it was opened with; None in local use, where a session only carries the CSRF token.
        id: Random.
        until: Seconds since 1970.
    """

    key: str | None
    id: str
    until: float


class Sessions:
    """Signs and reads page sessions; nothing of them is stored.

    Args:
        secret: 32 bytes, the same in every process.
        config: For the lifetime and whether browsers come by HTTPS.
    """

    def __init__(self, secret: bytes, config: ServiceConfig) -> None:
        self._secret, self._config = secret, config
        self.cookie = f"__Host-{COOKIE}" if config.secure else COOKIE

    @classmethod
    def of(cls, store: Store, config: ServiceConfig) -> Sessions:
        """With the secret of a store, made where it has none."""
        return cls(bytes.fromhex(store.setting_or("session-secret", lambda: secrets.token_hex(32))), config)

    def open(self, key: str | None) -> Session:
        """A new session."""
        return Session(key, secrets.token_urlsafe(18), time.time() + 3600 * self._config.session_hours)

    def write(self, session: Session) -> str:
        """The cookie's value."""
        told = json.dumps([session.key, session.id, session.until]).encode()
        body = base64.urlsafe_b64encode(told).rstrip(b"=").decode()
        return f"{body}.{self._sign('session', body)}"

    def read(self, value: str | None) -> Session | None:
        """The session of a cookie, None where it is forged or has ended."""
        body, _, signature = (value or "").partition(".")
        if not body or not hmac.compare_digest(self._sign("session", body).encode(), signature.encode()):
            return None
        key, identifier, until = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return Session(key, identifier, until) if until > time.time() else None

    def token(self, session: Session) -> str:
        """The CSRF token of a session; forms carry it as the field ``csrf``, scripts as the header X-CSRF-Token."""
        return self._sign("csrf", session.id)

    def token_fits(self, session: Session, token: str | None) -> bool:
        """Is this the session's CSRF token?"""
        return hmac.compare_digest(self.token(session).encode(), (token or "").encode())

    def set(self, response: Response, session: Session) -> None:
        """Put the cookie on a response."""
        response.set_cookie(
            self.cookie,
            self.write(session),
            max_age=max(0, int(session.until - time.time())),
            path="/",
            secure=self._config.secure,
            httponly=True,
            samesite="strict",
        )

    def drop(self, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(self.cookie, path="/", secure=self._config.secure, httponly=True, samesite="strict")

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


# ---- keys ------------------------------------------------------------------------------------------------------------


class KeyRing:
    """Looks keys up in the store and remembers the answer for a second, so that a revoked key dies within one.

    Args:
        store: Holds the keys.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[bytes, tuple[float, KeyInfo | None]] = OrderedDict()
        self._by_id: OrderedDict[str, tuple[float, KeyInfo | None]] = OrderedDict()
        self._any: tuple[float, bool] = (0.0, False)
        self._lock = threading.Lock()

    async def verify(self, text: str) -> KeyInfo | None:
        """The key a text opens."""
        return await self._remembered(
            self._known, hashlib.sha256(text.encode()).digest(), self._store.keys.verify, text
        )

    async def of_session(self, identifier: str) -> KeyInfo | None:
        """The key a session was opened with, where it is still good."""
        found = await self._remembered(self._by_id, identifier, self._store.keys.get, identifier)
        return found if found is not None and found.revoked is None else None

    async def needed(self) -> bool:
        """Is there a key, so that requests need one?"""
        moment, known = self._any
        if not known and time.monotonic() > moment:
            known = await run_in_threadpool(self._store.keys.any)
            self._any = (time.monotonic() + _KEY_SECONDS, known)
        return known

    def forget(self) -> None:
        """Ask the store again at once: a key was made or revoked."""
        with self._lock:
            self._known.clear()
            self._by_id.clear()
            self._any = (0.0, False)

    async def _remembered(
        self,
        table: MutableMapping[Any, tuple[float, KeyInfo | None]],
        name: Any,
        ask: Callable[[str], KeyInfo | None],
        text: str,
    ) -> KeyInfo | None:
        until, found = table.get(name, (0.0, None))
        if time.monotonic() < until:
            return found
        found = await run_in_threadpool(ask, text)
        with self._lock:
            table[name] = (time.monotonic() + _KEY_SECONDS, found)
            while len(table) > _MOST_KEYS:
                table.pop(next(iter(table)))
        return found


# ---- what routes declare ---------------------------------------------------------------------------------------------


class Permission:
    """A dependency that says who may use a route and lets nobody else in; gives the :class:`Principal`.

    Args:
        roles: Whom it lets in besides administrators; None lets everybody in and gives no principal.
    """

    def __init__(self, roles: frozenset[Role] | None) -> None:
        self.roles = roles

    async def __call__(self, request: Request) -> Principal | None:
        """Find out who asks.

        Raises:
            HTTPException: 401 without a good key, 403 without the right, 429 above the rate.
        """
        service: Service = request.app.state.service
        if self.roles is None:
            if request.method not in _SAFE:  # a key is tried on the page that opens a session
                _slow_down(_address_waits(request, service))
            return None
        principal = await identify(request, service)
        if principal is None:
            _slow_down(_address_waits(request, service))
            raise HTTPException(401, _no_key(request), {"WWW-Authenticate": "Bearer"})
        if principal.by != "local":
            person = principal.role == "person"
            rate = service.config.person_rate_per_minute if person else service.config.rate_per_minute
            _slow_down(service.limiter.wait(principal.name, rate))
        if principal.by != "key" and request.method not in _SAFE:
            _from_here(request, service)
        if not principal.is_admin and principal.role not in self.roles:
            raise HTTPException(403, f"A key of the role {principal.role} may not do this")
        request.state.principal = principal
        return principal


def require(*roles: Role) -> Any:
    """A dependency that lets these roles in, and administrators.

    It gives who asks: ``principal: Annotated[Principal, require("read", "write")]``.
    """
    return Depends(Permission(frozenset(roles)))


def everybody() -> Any:
    """For routes that need no key: health, the page that opens a session, static files."""
    return Depends(Permission(None))


def may_see(principal: Principal, user: str) -> bool:
    """May they see and change what concerns this person?"""
    return principal.user == user if principal.role == "person" else True


def check_user(principal: Principal, user: str) -> None:
    """Let a person's key see only that person.

    Raises:
        HTTPException: 403; the same whether the other person is known or not.
    """
    if principal.role == "person" and principal.user is None:
        raise HTTPException(403, "The person of this key was deleted: it opens their requests and nothing else")
    if not may_see(principal, user):
        raise HTTPException(403, "This key sees one person only, and not this one")


async def identify(request: Request, service: Service) -> Principal | None:
    """Who asks, by key, by page session, or by being at the machine where no keys are used."""
    header = request.headers.get("authorization", "")
    scheme, _, text = header.partition(" ")
    if header:
        key = await service.keys.verify(text.strip()) if scheme.lower() == "bearer" else None
        return principal_of_key(key) if key is not None else None
    session = service.sessions.read(request.cookies.get(service.sessions.cookie))
    if session is not None and session.key is not None:
        key = await service.keys.of_session(session.key)
        return principal_of_key(key, "session") if key is not None else None
    if service.config.private and not _FORWARDED & set(request.headers) and not await service.keys.needed():
        return LOCAL
    return None


def _no_key(request: Request) -> str:
    if request.headers.get("authorization"):
        return "This key opens nothing: it was mistyped, or it was revoked"
    return "A key is needed"


def client_address(request: Request, config: ServiceConfig) -> str:
    """Who is at the other end, through proxies that are trusted."""
    address = request.client.host if request.client is not None else "unknown"
    if address in config.trusted_proxies:
        forwarded = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
        for hop in reversed(forwarded):
            address = hop
            if hop not in config.trusted_proxies:
                break
    return address


def _address_waits(request: Request, service: Service) -> float:
    """Seconds until whoever is not known may ask again."""
    address = client_address(request, service.config)
    return service.limiter.wait(f"address:{address}", service.config.person_rate_per_minute)


def _slow_down(seconds: float) -> None:
    if seconds > 0:
        wait = str(math.ceil(seconds))
        raise HTTPException(429, f"Too many requests: wait {wait} s", {"Retry-After": wait})


# ---- other sites -----------------------------------------------------------------------------------------------------


def _from_here(request: Request, service: Service) -> None:
    """Refuse what another site's page makes a browser send: cookies and being local are no intention."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if (site is not None and site not in ("same-origin", "none")) or not own:
        raise HTTPException(403, "This came from another site's page")


async def checked_session(request: Request) -> Session:
    """Dependency of page routes that change something: the session, with its CSRF token checked.

    Raises:
        HTTPException: 403 without the token.
    """
    service: Service = request.app.state.service
    session = service.sessions.read(request.cookies.get(service.sessions.cookie))
    token = request.headers.get(CSRF_HEADER)
    kind = request.headers.get("content-type", "")
    if token is None and kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        given = (await request.form()).get(CSRF_FIELD)
        token = given if isinstance(given, str) else None
    if session is None or not service.sessions.token_fits(session, token):
        raise HTTPException(403, "The form has expired: load the page again and send it once more")
    _from_here(request, service)
    return session


def page_session(request: Request) -> tuple[Session, bool]:
    """The session of a page request, and whether it is new so that the response must carry its cookie."""
    service: Service = request.app.state.service
    session = service.sessions.read(request.cookies.get(service.sessions.cookie))
    return (session, False) if session is not None else (service.sessions.open(None), True)


CheckedSession = Annotated[Session, Depends(checked_session)]


class HostGuard:
    """Middleware: answers only to names the service has, so that no other name can be pointed at this machine.

    Args:
        app: What it guards.
        config: Its host and allowed hosts. Bound publicly without allowed hosts, every name is answered.
    """

    def __init__(self, app: ASGIApp, config: ServiceConfig) -> None:
        self._app, self._config = app, config
        self._names = {name.lower() for name in (config.host, *config.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 421."""
        host = dict(scope["headers"]).get(b"host", b"") if scope["type"] in ("http", "websocket") else None
        if host is not None and not self._known(host):
            told = {"type": "about:blank", "title": "Misdirected Request", "status": 421}
            told["detail"] = f"The service does not answer to the name '{host.decode('latin-1')}'"
            told["fix"] = "Name it in allowed_hosts when the service is started"
            body = json.dumps(told).encode()
            head = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 421, "headers": head})
            await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send)

    def _known(self, header: bytes) -> bool:
        host = header.decode("latin-1").lower()
        name = host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
        if name in self._names:
            return True
        if self._config.loopback:
            return is_loopback(name)
        return not self._config.allowed_hosts


def check_binding(config: ServiceConfig, store: Store) -> None:
    """Refuse to be reached by others while nobody needs a key.

    Raises:
        ConfigError: The address is public, or a proxy is configured, and the store has no key.
    """
    if not config.private and not store.keys.any():
        how = "through a proxy" if config.loopback else f"at {config.host}"
        raise ConfigError(
            f"The service would be reached from other machines {how}, and its store has no key",
            where="allowed_hosts, trusted_proxies, behind_tls" if config.loopback else "--host",
            fix=f"Make one first: rectitude keys make NAME --role admin --store {_shown(config.store)}",
        )


def _shown(url: str) -> str:
    """A store's URL without the password in it."""
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)
