"""TLS: the certificate that the server shows, checked before it is used, and replaced while the server runs."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from ..errors import ConfigError

EXPIRES_SOON = timedelta(days=14)
X509_NOT_YET_VALID, X509_EXPIRED = 9, 10  # of OpenSSL's X509_V_ERR_…
_VALIDITY_FAULTS = {X509_NOT_YET_VALID: "is not valid yet", X509_EXPIRED: "has expired"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a client sees of the server's certificate.

    Attributes:
        expires: Until when it is valid; None where it isn't now.
        names: The host names and IP addresses that it is for.
        fault: Why clients refuse it whoever has issued it, for instance "has expired"; None: they needn't.
    """

    expires: datetime | None
    names: tuple[str, ...] = ()
    fault: str | None = None


class TlsFiles:
    """A certificate chain and its key in PEM files, and the context by which connections use them."""

    def __init__(self, certfile: Path, keyfile: Path) -> None:
        """Load both files. Raises `ConfigError` where they can't be used."""
        self.certfile = certfile
        self.keyfile = keyfile
        self.context = _load(certfile, keyfile)
        self.certificate = inspect_certificate(self.context, certfile)
        self._warn()

    def reload(self) -> bool:
        """Use what the files have now, for new connections; open ones keep what they have.

        Returns whether it could be used; where not, the former certificate stays, and the cause is logged.
        """
        try:
            certificate = inspect_certificate(_load(self.certfile, self.keyfile), self.certfile)
            self.context.load_cert_chain(self.certfile, self.keyfile, _refuse_password)
        except (ConfigError, ssl.SSLError, OSError) as error:
            log.error("certificate_not_reloaded", file=str(self.certfile), reason=str(error))  # noqa: TRY400 - no fault of ours
            return False
        self.certificate = certificate
        expires = certificate.expires
        log.info("certificate_reloaded", file=str(self.certfile), expires=expires and expires.isoformat())
        self._warn()
        return True

    def _warn(self) -> None:
        """Log what clients will refuse, or will refuse soon."""
        certificate = self.certificate
        if certificate.fault is not None:
            log.warning("certificate_not_accepted", file=str(self.certfile), reason=certificate.fault)
        elif certificate.expires is not None and certificate.expires - datetime.now(UTC) < EXPIRES_SOON:
            log.warning("certificate_not_renewed", file=str(self.certfile), expires=certificate.expires.isoformat())


def _load(certfile: Path, keyfile: Path) -> ssl.SSLContext:
    """Return a context for connections with this certificate. Raises `ConfigError`, which names the setting."""
    _check_pem(certfile, "ASKBOT_CERTFILE", "a certificate, with those that it was issued by after it", "CERTIFICATE")
    _check_pem(keyfile, "ASKBOT_KEYFILE", "the certificate's private key", "PRIVATE KEY")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # which costs the server more than the client
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certfile, keyfile, _refuse_password)
    except ssl.SSLError as error:
        raise ConfigError(f"askbot can't use the certificate: {_describe(error, certfile, keyfile)}") from error
    return context


def _check_pem(path: Path, setting: str, what: str, label: str) -> None:
    """Raise `ConfigError` where a file can't be read, or has nothing with this label."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{setting}: {path} can't be read ({error.strerror or error}); it should have {what}."
        ) from error
    if label.encode() + b"-----" not in text:
        hint = " A file in DER can be converted by `openssl x509 -inform der`." if text[:1] == b"\x30" else ""
        raise ConfigError(f"{setting}: {path} has no {label} in PEM; it should have {what}.{hint}")


def _refuse_password() -> str:
    """Refuse to use a key that is encrypted: nobody is there to type its password."""
    raise ConfigError(
        "ASKBOT_KEYFILE: the key is encrypted, and the server has no password for it. Decrypt it, for instance by "
        "`openssl pkey -in key.pem -out decrypted.pem`, and let only the server's user read it."
    )


def _describe(error: ssl.SSLError, certfile: Path, keyfile: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {keyfile} (ASKBOT_KEYFILE) is not that of {certfile} (ASKBOT_CERTFILE)."
    if error.reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        return f"{certfile} (ASKBOT_CERTFILE) is too weak for today's clients ({error.reason}): have a new one made."
    return f"{certfile} (ASKBOT_CERTFILE) or {keyfile} (ASKBOT_KEYFILE) is damaged ({error.reason or 'no PEM'})."


def inspect_certificate(context: ssl.SSLContext, certfile: Path) -> Certificate:
    """Return what a client that trusts the certificate's issuer sees: a handshake is made in memory."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(certfile)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the file need not have the root
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (client, server, client):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        fault = _VALIDITY_FAULTS.get(error.verify_code, f"is refused by clients: {error.verify_message}")
        return Certificate(None, fault=fault)
    seen: dict[str, Any] = client.getpeercert() or {}
    names = tuple(str(name) for kind, name in seen.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(seen["notAfter"])), UTC)
    return Certificate(expires, names)
