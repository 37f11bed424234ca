"""Makes a certificate authority that is limited to one host, so that a phone can trust the server of this host."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.errors import MissingExtra, OptionError, StorageError
from dermedge.edge.files import storage_error, user_folder, write_bytes

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Authority", "authority_folder", "make_context", "open_authority"]

_VALID_DAYS = 365
# A new certificate is backdated by this time, because the clock of a phone may be slow.
_CLOCK_SLACK = timedelta(hours=1)
# A certificate authority that expires within this time is replaced.
_LEAST_LEFT = timedelta(days=1)
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that is valid for one year.

    The authority can sign certificates for one host only, and cannot create further authorities.

    Attributes:
        certificate: the certificate in PEM format.
        key: the private key in PEM format. Whoever has the private key can pose as this host to every phone that
            trusts the certificate.
    """

    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 digest of the certificate as phones show it: pairs of hexadecimal digits between colons."""
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.decode())).hexdigest().upper()
        return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def authority_folder() -> Path:
    """Returns the folder that contains the certificate authorities of this user. The folder may not exist yet."""
    return user_folder("XDG_DATA_HOME", ".local/share") / "phone"


def open_authority(folder: Path, host: str) -> Authority:
    """Returns the certificate authority for ``host`` in a folder.

    A new certificate authority is made in two cases: the folder contains no certificate authority for this host, or
    the existing one expires within a day. Only the user who runs dermedge can read the file of the private key.

    Earlier versions of dermedge made a certificate authority that was valid for any web site. That certificate
    authority is deleted from the folder.

    Raises:
        OptionError: if ``host`` is neither an IP address nor a host name.
        StorageError: if the files cannot be read or written, or are damaged.
        MissingExtra: if the package cryptography is not installed.
    """
    _need_cryptography()
    names = _names(host)
    stem = re.sub(r"[^a-z0-9.-]", "_", host.lower())
    # the names ca.pem and ca.key are not used, because the files of earlier versions with these names are deleted below
    stem = "ca_" if stem == "ca" else stem
    certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    try:
        for old in (folder / "ca.pem", folder / "ca.key"):
            old.unlink(missing_ok=True)
        if certificate.is_file() and key.is_file():
            found = Authority(certificate.read_bytes(), key.read_bytes())
            if _loaded(found)[0].not_valid_after_utc - datetime.now(UTC) > _LEAST_LEFT:
                return found
        made = _make(host, names)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The old certificate and key are deleted first. So an interrupted write cannot leave the new key beside the old
        # certificate.
        certificate.unlink(missing_ok=True)
        key.unlink(missing_ok=True)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(made.key)
        write_bytes(certificate, made.certificate)
    except OSError as error:
        raise storage_error(folder, error) from error
    return made


def make_context(authority: Authority, host: str) -> ssl.SSLContext:
    """Returns the TLS context of a server at ``host``, with a new certificate that expires when the authority expires.

    Args:
        authority: the authority that signs the certificate.
        host: IP address or host name of the server.

    Raises:
        OptionError: if ``host`` is neither an IP address nor a host name.
        StorageError: if the authority is damaged.
        MissingExtra: if the package cryptography is not installed.
    """
    _need_cryptography()
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    names = _names(host)
    issuer, issuer_key = _loaded(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(key, x509.Name([]), issuer.subject, issuer.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([names[0]]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    return _context(_signed(builder, issuer_key), key)


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - only to find out whether it is installed
    except ImportError as error:
        raise MissingExtra("cryptography", "phone") from error


def _names(host: str) -> tuple[x509.GeneralName, list[x509.GeneralName], list[x509.GeneralName]]:
    """Returns the name of the host, the permitted names and the excluded names of the certificate authority.

    The authority may not sign certificates for excluded names. An authority for an IP address excludes all domain
    names, and an authority for a domain name excludes all IP addresses. The exclusion is necessary, because a permitted
    IP address restricts only IP addresses, and a permitted domain name restricts only domain names (RFC 5280,
    4.2.1.10).

    Raises:
        OptionError: if ``host`` is neither an IP address nor a host name, or if ``host`` stands for all addresses.
    """
    from cryptography import x509

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        if not _HOST_NAME.match(name):
            raise OptionError(
                f"'{host}' is neither an IP address nor a host name; give --host an address or name of this machine"
            ) from None
        everywhere = [x509.IPAddress(ipaddress.ip_network(one)) for one in ("0.0.0.0/0", "::/0")]
        return x509.DNSName(name), [x509.DNSName(name)], [*everywhere]
    if address.is_unspecified:
        raise OptionError(
            f"'{host}' stands for all addresses of this machine, and a phone cannot open it; give --host one address "
            "of this machine, such as 192.168.1.20"
        )
    network = ipaddress.ip_network(address)
    return x509.IPAddress(address), [x509.IPAddress(network)], [x509.DNSName("")]


def _make(
    host: str, names: tuple[x509.GeneralName, list[x509.GeneralName], list[x509.GeneralName]]
) -> Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    title = f"dermedge for {host}"[:64]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)])
    _, permitted, excluded = names
    builder = (
        _builder(key, subject, subject, datetime.now(UTC) + timedelta(days=_VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted, excluded), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Authority(_signed(builder, key), private)


def _builder(
    key: EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name, ends: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _CLOCK_SLACK)
        .not_valid_after(ends)
    )


def _usage(digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, issuer_key: EllipticCurvePrivateKey) -> bytes:
    """Signs a certificate, and returns it in PEM format."""
    from cryptography.hazmat.primitives import hashes, serialization

    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _loaded(authority: Authority) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """Returns the certificate and the private key of an authority.

    Raises:
        StorageError: if the certificate or the key is damaged, or if the key does not belong to the certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
        key = serialization.load_pem_private_key(authority.key, password=None)
    except ValueError as error:
        raise _damaged() from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise _damaged()
    return certificate, key


def _damaged() -> StorageError:
    return StorageError(
        f"the certificate authority in '{authority_folder()}' is damaged; delete this folder, and run the command again"
    )


def _context(certificate: bytes, key: EllipticCurvePrivateKey) -> ssl.SSLContext:
    """Returns the TLS context of a server with this certificate.

    The module `ssl` reads a certificate only from a file. Therefore this function writes a temporary file, and deletes
    the file before it returns.
    """
    from cryptography.hazmat.primitives import serialization

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_bytes(certificate + private)
        context.load_cert_chain(path)
    return context
