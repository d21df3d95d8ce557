"""Signatures, with the keys and the verdict of OpenSSL."""

import shutil
import subprocess
from pathlib import Path

import pytest

from f2at.__main__ import main
from f2at.bundle.format import MANIFEST, SIGNATURE, Bundle, load_bundle
from f2at.bundle.keys import SignatureError, read_private_key, read_public_keys, verify
from f2at.bundle.signatures import verify_bundle
from tests.keys import Keys, curve, make_keys, openssl
from tests.readme import blocks, commands

PAGE = "docs/operations.md"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path)


@pytest.fixture
def signed(bundle: Bundle, keys: Keys, tmp_path: Path) -> Path:
    folder = tmp_path / "signed"
    shutil.copytree(bundle.path, folder)
    assert main(["sign", str(folder), "--key", str(keys.private)]) == 0
    return folder


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"f2at {arguments[0]}: ")
    assert error.count("\n") == 1
    return error


def test_openssl_accepts_the_signature(signed: Path, keys: Keys) -> None:
    check = ["pkeyutl", "-verify", "-pubin", "-inkey", keys.public, "-rawin", "-in", signed / MANIFEST]
    assert openssl(*check, "-sigfile", signed / SIGNATURE).returncode == 0
    manifest = (signed / MANIFEST).read_bytes()
    (signed / MANIFEST).write_bytes(manifest.replace(b"sha256", b"sha255", 1))
    assert openssl(*check, "-sigfile", signed / SIGNATURE).returncode != 0


@pytest.mark.parametrize(("name", "digest"), [("P-256", "sha256"), ("P-384", "sha384"), ("P-521", "sha512")])
def test_openssl_accepts_the_signature_of_an_elliptic_curve(
    name: str, digest: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, keys = tmp_path / "signed", make_keys(tmp_path, kind=curve(name))
    shutil.copytree(bundle.path, folder)
    assert main(["sign", str(folder), "--key", str(keys.private)]) == 0
    check = ["dgst", f"-{digest}", "-verify", keys.public, "-signature", folder / SIGNATURE]
    assert openssl(*check, folder / MANIFEST).returncode == 0
    assert main(["verify", str(folder), "--public-key", str(keys.public)]) == 0
    other = make_keys(tmp_path, "other", curve(name))
    both = tmp_path / "both.pem"  # of several kinds
    both.write_bytes(make_keys(tmp_path, "edwards").public.read_bytes() + other.public.read_bytes())
    assert "not by any of the given keys" in fails(capsys, "verify", folder, "--public-key", both)
    both.write_bytes(both.read_bytes() + keys.public.read_bytes())
    assert main(["verify", str(folder), "--public-key", str(both)]) == 0


def test_a_signature_is_replaced_only_where_that_is_asked_for(
    signed: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (signed / SIGNATURE).read_bytes()
    (signed / SIGNATURE).write_bytes(b"another")
    assert main(["sign", str(signed), "--key", str(keys.private)]) == 2
    assert capsys.readouterr().err == f"f2at sign: {signed / SIGNATURE} exists; give --overwrite to replace it\n"
    assert main(["sign", str(signed), "--key", str(keys.private), "--overwrite"]) == 0
    assert (signed / SIGNATURE).read_bytes() == before  # Ed25519 draws nothing


def test_only_the_signers_key_verifies(signed: Path, keys: Keys, tmp_path: Path) -> None:
    other = make_keys(tmp_path, "other").public
    bundle = load_bundle(signed)
    verify_bundle(bundle, read_public_keys(keys.public))
    with pytest.raises(SignatureError, match="not by any of the given keys"):
        verify_bundle(bundle, read_public_keys(other))
    both = tmp_path / "both.pem"  # while a key is being changed
    both.write_bytes(other.read_bytes() + keys.public.read_bytes())
    verify_bundle(bundle, read_public_keys(both))


def test_the_bytes_that_were_loaded_are_what_is_verified(signed: Path, keys: Keys) -> None:
    bundle = load_bundle(signed)
    (signed / MANIFEST).write_bytes(b"replaced after loading")
    verify_bundle(bundle, read_public_keys(keys.public))


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_no_bit_of_a_signature_may_change(signed: Path, keys: Keys, position: int) -> None:
    signature = bytearray((signed / SIGNATURE).read_bytes())
    assert len(signature) == 64
    signature[position] ^= 1
    with pytest.raises(SignatureError):
        verify(load_bundle(signed).manifest_bytes, bytes(signature), read_public_keys(keys.public))


def test_an_altered_bundle_does_not_verify(signed: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(signed), "--public-key", str(keys.public)]) == 0
    data = bytearray((signed / "gradient.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (signed / "gradient.onnx").write_bytes(data)
    assert "sha256" in fails(capsys, "verify", signed, "--public-key", keys.public)
    assert "sha256" in fails(capsys, "sign", signed, "--key", keys.private)


def test_a_bundle_exported_anew_has_no_signature(
    bundle: Bundle, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "not signed" in fails(capsys, "verify", bundle.path, "--public-key", keys.public)


def test_the_commands_of_the_documentation(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle.path, "bundles/digits")
    (printed,) = blocks("sh", page=PAGE, title="Ship")
    subprocess.run(printed.splitlines()[0], shell=True, check=True)
    (signing,), (verifying,) = (commands(name, page=PAGE, title="Ship") for name in ("sign", "verify"))
    assert [main(signing), main(verifying)] == [0, 0]


def test_any_file_is_signed_but_as_json_only_a_report(
    keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = tmp_path / "figures.txt", tmp_path / "report.json"
    file.write_text("robust 0.6\n")
    assert main(["sign", str(file), "--key", str(keys.private)]) == 0
    assert main(["verify", str(file), "--public-key", str(keys.public)]) == 0
    file.write_text("robust 0.7\n")
    assert "not of this content" in fails(capsys, "verify", file, "--public-key", keys.public)
    report.write_text('{"robust": 0.6}\n')
    assert "report.json is not an audit report" in fails(capsys, "sign", report, "--key", keys.private)


def test_keys_of_another_kind_are_refused(
    signed: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = keys
    rsa, locked = tmp_path / "rsa.pem", tmp_path / "locked.pem"
    assert openssl("genpkey", "-algorithm", "rsa", "-out", rsa).returncode == 0
    assert openssl("pkey", "-in", private, "-aes256", "-passout", "pass:x", "-out", locked).returncode == 0
    other = make_keys(tmp_path, "bitcoin", curve("secp256k1"))
    for wrong in (rsa, locked, public, other.private, signed / MANIFEST):
        assert "private key, Ed25519 or EC" in fails(capsys, "sign", signed, "--key", wrong)
    for wrong in (rsa, private, other.public, signed / MANIFEST):
        assert "public keys, Ed25519 or EC" in fails(capsys, "verify", signed, "--public-key", wrong)
    assert "cannot be read" in fails(capsys, "sign", signed, "--key", tmp_path / "absent.pem")
    with pytest.raises(SignatureError, match="openssl genpkey"):
        read_private_key(rsa)
