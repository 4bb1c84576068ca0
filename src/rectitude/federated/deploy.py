"""A plan on a real SuperLink and SuperNodes, over TLS on this machine; and the folders to do the same on several.

``deploy`` makes certificates, starts SuperLink and one SuperNode a client, submits the app with ``flwr run``,
waits, and stops everything it started. Each process writes its log into the workplace. By hand, or on several machines,
it is the same commands: see the tutorial on federations.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from rectitude.core.errors import MissingExtraError
from rectitude.core.files import write_bytes, write_text
from rectitude.federated.app import Progress
from rectitude.federated.contracts import FederationError
from rectitude.federated.flower import ENDED, EVENTS, outcome
from rectitude.federated.plan import Plan
from rectitude.federated.processes import HOST, free_ports, last_words, process, program
from rectitude.federated.run import Workplace

_STARTING = 180.0  # seconds a busy machine may need to start a process
_LOOK = 0.3  # seconds between looks at what happens
_VALID_DAYS = 30
_CONNECTION = "rectitude"
_PROJECT = """\
[project]
name = "rectitude-federation"
version = "1.0.0"
description = "The federation of one Rectitude plan"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>=1.41,<1.42"]

[tool.flwr.app]
publisher = "rectitude"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "federation:server"
clientapp = "federation:client"

[tool.flwr.app.config]
workplace = "{workplace}"
"""
_PACKAGE = '''\
"""The apps of a federation; all of their code is in Rectitude."""

from rectitude.federated.flower import client, server

__all__ = ["client", "server"]
'''


def write_certificates(folder: Path, host: str = HOST) -> None:
    """Make a certificate authority and a certificate of the server, valid for a month.

    Args:
        folder: Gets ``ca.crt``, ``server.crt`` and ``server.key``. The authority's key is not kept.
        host: Address or name that the certificate is for.

    Raises:
        MissingExtraError: The package ``cryptography`` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise MissingExtraError("cryptography", "fed", "TLS") from error

    def name(words: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])

    def certificate(subject: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        begin = datetime.now(UTC) - timedelta(minutes=5)
        made = x509.CertificateBuilder(name("Rectitude federation"), name(subject), key, x509.random_serial_number())
        return made.not_valid_before(begin).not_valid_after(begin + timedelta(days=_VALID_DAYS))

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    signs = x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    identity = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    ca = (
        certificate("Rectitude federation", authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(identity, critical=False)
        .sign(authority, hashes.SHA256())
    )
    try:
        also: list[x509.GeneralName] = [x509.IPAddress(ip_address(host))]
    except ValueError:
        also = [x509.DNSName(host)]
    server = (
        certificate(host, own.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([*also, x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_bytes(folder / "ca.crt", ca.public_bytes(pem))
    write_bytes(folder / "server.crt", server.public_bytes(pem))
    write_bytes(folder / "server.key", key)
    (folder / "server.key").chmod(0o600)


def write_app(folder: Path, workplace: Path) -> None:
    """Write the small Flower project that ``flwr run`` submits.

    Args:
        folder: Of the project.
        workplace: Where the server finds plan and progress, on the server's machine.
    """
    where = str(workplace).replace("\\", "\\\\").replace('"', '\\"')
    write_text(folder / "pyproject.toml", _PROJECT.format(workplace=where))
    write_text(folder / "LICENSE", "Apache-2.0\n")
    write_text(folder / "federation" / "__init__.py", _PACKAGE)


def deploy(
    plan: Plan,
    workplace: Workplace,
    *,
    announce: Callable[[str], None] | None = None,
    watch: Callable[[int, int], None] | None = None,
    root_certificate: Path | None = None,
    absent: Sequence[int] = (),
) -> Progress:
    """Carry out a prepared plan on SuperLink and SuperNodes over loopback TLS.

    Args:
        plan: What to do.
        workplace: Where plan, rows and progress are.
        announce: Told of clients that join or fail.
        watch: Called with stage and round as the run goes on.
        root_certificate: What the SuperNodes trust; the authority of SuperLink's own certificate by default.
        absent: Clients whose SuperNode is not started.

    Raises:
        MissingExtraError: Flower is not installed.
        FederationError: A process failed to start, a SuperNode was refused, or too few clients took part.
        InfeasibleError: The tolerances cannot be kept.
    """
    for command in ("flower-superlink", "flower-supernode", "flwr"):
        if program(command) is None:
            raise MissingExtraError("flwr", "fed", "A deployed federation")
    say = announce or (lambda _: None)
    folder = workplace.folder.resolve()
    tls, logs, flower = folder / "tls", folder / "logs", folder / "flower"
    for stale in (folder / ENDED, folder / EVENTS):
        stale.unlink(missing_ok=True)
    for part in (tls, logs, flower, folder / "app"):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    write_certificates(tls)
    write_app(folder / "app", folder)
    port, *node_ports = free_ports(1 + plan.problem.n_clients)
    environment = {
        **os.environ,
        "FLWR_HOME": str(flower),
        "FLWR_TELEMETRY_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    write_text(
        flower / "config.toml",
        f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\naddress = "{HOST}:{port}"\n'
        f'root-certificates = "{tls / "ca.crt"}"\n',
    )
    with ExitStack() as running:

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            return running.enter_context(process(words, logs / f"{name}.log", environment))

        superlink = start(
            "superlink",
            *("flower-superlink", "--host", HOST, "--port", str(port), "--disable-runtime-dependency-installation"),
            *("--ssl-ca-certfile", str(tls / "ca.crt"), "--ssl-certfile", str(tls / "server.crt")),
            *("--ssl-keyfile", str(tls / "server.key")),
        )
        _wait_for_tls(port, tls / "ca.crt", superlink, logs / "superlink.log")
        nodes = {}
        for index, name in enumerate(plan.problem.clients):
            if index in absent:
                continue
            nodes[index] = start(
                f"supernode-{index}",
                *("flower-supernode", "--superlink", f"{HOST}:{port}", "--port", str(node_ports[index])),
                *("--root-certificates", str(root_certificate or tls / "ca.crt"), "--max-retries", "3"),
                *("--node-config", f'folder="{workplace.client(index).resolve()}" name="{name}"'),
            )
        submitted = start("flwr-run", "flwr", "run", str(folder / "app"), _CONNECTION)
        _wait_for_end(plan, workplace, superlink, nodes, submitted, say, watch)
    return outcome(workplace)


def _wait_for_end(
    plan: Plan,
    workplace: Workplace,
    superlink: subprocess.Popen[bytes],
    nodes: Mapping[int, subprocess.Popen[bytes]],
    submitted: subprocess.Popen[bytes],
    say: Callable[[str], None],
    watch: Callable[[int, int], None] | None,
) -> None:
    """Until the server has left word; says on the way what it says, and which SuperNodes ended."""
    folder, heard = workplace.folder, 0
    gone: dict[int, str] = {}
    while not (folder / ENDED).exists():
        time.sleep(_LOOK)
        heard = _listen(folder / EVENTS, heard, say)
        if watch is not None and (progress := workplace.progress()) is not None and progress.traffic:
            watch(progress.traffic[-1].stage, progress.traffic[-1].round)
        for index, node in nodes.items():
            if index not in gone and node.poll() is not None:
                gone[index] = last_words(folder / "logs" / f"supernode-{index}.log")
                say(f"The SuperNode of {plan.problem.clients[index]} ended: {gone[index]}")
        if len(nodes) - len(gone) < plan.min_clients and not workplace.checkpoint.exists():
            raise FederationError(
                f"Only {len(nodes) - len(gone)} of the {plan.min_clients} SuperNodes needed could join SuperLink: "
                f"{next(iter(gone.values()), 'the others were not started')}",
                where=str(folder / "logs"),
                fix="Look at their logs; a SuperNode is refused where it does not trust SuperLink's certificate",
            )
        for name, running in (("superlink", superlink), ("flwr-run", submitted)):
            code = running.poll()
            if code not in (None, 0) or (name == "superlink" and code is not None):
                raise FederationError(
                    f"{name} ended with code {code}: {last_words(folder / 'logs' / f'{name}.log')}",
                    where=str(folder / "logs"),
                    fix="Completed rounds are kept: go on with --resume",
                )
    _listen(folder / EVENTS, heard, say)


def _listen(events: Path, heard: int, say: Callable[[str], None]) -> int:
    sentences = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
    for sentence in sentences[heard:]:
        say(sentence)
    return len(sentences)


def _wait_for_tls(port: int, authority: Path, superlink: subprocess.Popen[bytes], log: Path) -> None:
    context = ssl.create_default_context(cafile=str(authority))
    until = time.monotonic() + _STARTING
    while time.monotonic() < until:
        if superlink.poll() is not None:
            break
        try:
            with (
                socket.create_connection((HOST, port), timeout=2) as raw,
                context.wrap_socket(raw, server_hostname=HOST),
            ):
                return
        except OSError:
            time.sleep(_LOOK)
    raise FederationError(f"SuperLink did not come up: {last_words(log)}", where=str(log), fix="Look at its log")
