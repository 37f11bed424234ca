"""The certificate authority of `dermedge phone serve`: it vouches for one host, for a year, and for nobody else."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra phone is not installed")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dermedge.edge.errors import OptionError, StorageError
from dermedge.edge.phone import authority as authority_module
from dermedge.edge.phone.authority import Authority, make_context, open_authority

HOSTS = ["192.168.1.7", "fd00::7", "pi.local"]


def handshake(context: ssl.SSLContext, authority: Authority, host: str) -> list[str]:
    """Returns the names in the certificate of the server, which a phone has verified.

    The phone trusts the authority, and asks for ``host``. The TLS handshake is in memory.
    """
    to_phone, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    phone_context = ssl.create_default_context(cadata=authority.certificate.decode())
    phone = phone_context.wrap_bio(to_phone, to_server, server_hostname=host)
    server = context.wrap_bio(to_server, to_phone, server_side=True)
    waiting = {phone, server}
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.discard(end)
            except ssl.SSLWantReadError:
                continue
    certificate = phone.getpeercert(binary_form=True)
    assert certificate is not None
    extensions = x509.load_der_x509_certificate(certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def certificate_of(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.certificate)


def forged(
    authority: Authority, folder: Path, name: x509.GeneralName, through: bool = False
) -> ssl.SSLContext:
    """Returns what a thief of the authority's key could serve as another host.

    The certificate is signed by the authority itself or, if ``through`` is true, by an authority below it.
    """
    issuer = certificate_of(authority).subject
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    chain = b""
    now = datetime.now(UTC)

    def sign(subject: str, key: ec.EllipticCurvePrivateKey, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        if is_authority:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                 "key_agreement", "crl_sign", "encipher_only", "decipher_only"), False
            )  # fmt: skip
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    if through:
        below = ec.generate_private_key(ec.SECP256R1())
        chain = sign("below", below, is_authority=True)
        issuer, issuer_key = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "below")]), below
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = sign("a host", key, is_authority=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "forged.pem"
    path.write_bytes(leaf + chain + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("host", HOSTS)
def test_a_phone_that_trusts_it_reaches_its_host(host: str, tmp_path: Path) -> None:
    authority = open_authority(tmp_path, host)
    assert handshake(make_context(authority, host), authority, host) == [host]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("other", ["bank.example", "192.168.1.8", "fd00::8", "2.pi.example"])
def test_it_cannot_vouch_for_another_host(host: str, other: str, tmp_path: Path) -> None:
    authority = open_authority(tmp_path, host)
    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(other))
    except ValueError:
        name = x509.DNSName(other)
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree violation"):
        handshake(forged(authority, tmp_path, name), authority, other)


def test_the_forger_of_these_tests_reaches_the_host_itself(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, "pi.local")
    context = forged(authority, tmp_path, x509.DNSName("pi.local"))
    assert handshake(context, authority, "pi.local") == ["pi.local"]


def test_it_cannot_make_an_authority_below_it(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, "pi.local")
    context = forged(authority, tmp_path, x509.DNSName("pi.local"), through=True)
    with pytest.raises(ssl.SSLCertVerificationError, match="path length"):
        handshake(context, authority, "pi.local")


@pytest.mark.parametrize("host", HOSTS)
def test_it_is_valid_for_a_year_and_its_limits_are_critical(host: str, tmp_path: Path) -> None:
    certificate = certificate_of(open_authority(tmp_path, host))
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=364) < left <= timedelta(days=365)
    assert datetime.now(UTC) - certificate.not_valid_before_utc < timedelta(hours=2)
    limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.path_length) == (True, 0)
    assert certificate.extensions.get_extension_for_class(x509.NameConstraints).critical


def test_it_is_kept_for_each_host_and_its_key_is_the_owner_s(tmp_path: Path) -> None:
    first, second = (open_authority(tmp_path, host) for host in ("192.168.1.7", "fd00::7"))
    assert first != second
    assert open_authority(tmp_path, "192.168.1.7") == first
    keys = list(tmp_path.glob("*.key"))
    assert len(keys) == 2
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_the_one_for_a_host_called_ca_is_kept_too(tmp_path: Path) -> None:
    """Earlier versions wrote an authority into ca.pem, so each start deletes this file."""
    assert open_authority(tmp_path, "ca") == open_authority(tmp_path, "ca")


def test_one_that_ends_within_a_day_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority_module, "_VALID_DAYS", 1)
    old = open_authority(tmp_path, "pi.local")
    monkeypatch.undo()
    assert open_authority(tmp_path, "pi.local") != old


def test_the_earlier_one_which_was_valid_for_any_site_is_deleted(tmp_path: Path) -> None:
    for name in ("ca.pem", "ca.key"):
        (tmp_path / name).write_text("of an earlier version")
    open_authority(tmp_path, "pi.local")
    assert not list(tmp_path.glob("ca.*"))


def test_a_replacement_that_fails_half_way_is_made_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority_module, "_VALID_DAYS", 1)
    expiring = open_authority(tmp_path, "pi.local")
    monkeypatch.undo()

    def fail(path: Path, content: bytes) -> None:
        raise OSError("the power is gone")

    with monkeypatch.context() as failing:
        failing.setattr(authority_module, "write_bytes", fail)
        with pytest.raises(StorageError, match="the power is gone"):
            open_authority(tmp_path, "pi.local")
    assert open_authority(tmp_path, "pi.local").certificate != expiring.certificate


@pytest.mark.parametrize("host", ["no such name", "*.local", "", "a..b", "-a", "bank.example/x", "ü.local"])
def test_what_can_have_no_certificate_is_named_and_nothing_is_written(host: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"is neither an IP address nor a host name; give --host"):
        open_authority(tmp_path / "new", host)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_no_phone_can_open_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"'{host}' stands for all addresses .* give --host one address"):
        open_authority(tmp_path / "new", host)
    assert not (tmp_path / "new").exists()


def test_a_damaged_one_says_what_to_remove(tmp_path: Path) -> None:
    sound, other = open_authority(tmp_path, "pi.local"), open_authority(tmp_path, "fd00::7")
    for damaged in (Authority(b"no", b"no"), Authority(sound.certificate, other.key)):
        with pytest.raises(
            StorageError, match=r"certificate authority in '.*' is damaged; delete this folder"
        ):
            make_context(damaged, "pi.local")
