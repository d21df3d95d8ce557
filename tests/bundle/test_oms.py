"""Bundles in the format of OpenSSF Model Signing, against the command of a stock `model_signing`."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from model_signing import hashing, signing

from f2at.__main__ import main
from f2at.bundle.format import (
    CLASSIFIER,
    GRADIENT,
    MANIFEST,
    MODEL_SIGNATURE,
    REFERENCE,
    SIGNATURE,
    Bundle,
    load_bundle,
    write_bundle,
)
from f2at.bundle.keys import SignatureError, read_public_keys
from f2at.bundle.signatures import sign_bundle, verify_bundle
from tests.keys import Keys, curve, make_keys
from tests.readme import blocks

REPOSITORY = Path(__file__).parents[2]
FILES = [MANIFEST, CLASSIFIER, GRADIENT, REFERENCE]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"), kind=curve("P-256"))


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "digits"))


@pytest.fixture
def signed(folder: Path, keys: Keys) -> Path:
    assert main(["sign", str(folder), "--key", str(keys.private), "--format", "oms"]) == 0
    return folder


def stock(what: str, folder: Path, key: Path, *more: object) -> subprocess.CompletedProcess[str]:
    """The command of Model Signing, in a folder of its own."""
    given = ["--private_key" if what == "sign" else "--public_key", key, "--signature", folder / MODEL_SIGNATURE]
    words = [sys.executable, "-m", "model_signing", what, "key", folder, *given, *more]
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, cwd=folder.parent, check=False, timeout=60
    )


def accepted(folder: Path, public: Path) -> str:
    """The signature by which a bundle is accepted."""
    return verify_bundle(load_bundle(folder), read_public_keys(public))


def refusal(folder: Path, public: Path) -> str:
    """Why a bundle is not accepted."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        accepted(folder, public)
    return str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P-256", "P-384", "P-521"])
def test_each_accepts_what_the_other_signs(name: str, folder: Path, tmp_path: Path) -> None:
    keys = make_keys(tmp_path, kind=curve(name))
    assert main(["sign", str(folder), "--key", str(keys.private), "--format", "oms"]) == 0
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    checked = stock("verify", folder, keys.public)
    assert (checked.returncode, "Verification succeeded" in checked.stdout) == (0, True), checked.stderr

    (folder / MODEL_SIGNATURE).unlink()
    assert stock("sign", folder, keys.private).returncode == 0
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    assert stock("verify", folder, keys.public).returncode == 0


@pytest.mark.slow
def test_the_commands_of_the_documentation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    shutil.move(folder, "bundles/digits")
    keys, *rest = blocks("sh", page="docs/operations.md", title="Signatures")[0].splitlines()
    subprocess.run(keys, shell=True, check=True)
    commands = [shlex.split(line, comments=True) for line in rest]
    assert [words[:2] for words in commands] == [
        ["f2at", "sign"],
        ["f2at", "verify"],
        ["model_signing", "verify"],
        ["model_signing", "sign"],
    ]
    for words in (*commands, commands[1]):
        assert subprocess.run([sys.executable, "-m", *words], check=False, timeout=60).returncode == 0, words


@pytest.mark.slow
def test_what_is_refused_here_is_refused_there(signed: Path, keys: Keys, tmp_path: Path) -> None:
    other = make_keys(tmp_path, "other", curve("P-256"))
    assert "not by any of the given keys" in refusal(signed, other.public)
    assert stock("verify", signed, other.public).returncode == 1
    (signed / "extra.txt").write_text("")
    assert "extra.txt was not signed" in refusal(signed, keys.public)
    assert "extra.txt" in stock("verify", signed, keys.public).stderr
    (signed / "extra.txt").unlink()
    (signed / REFERENCE).rename(tmp_path / REFERENCE)
    assert f"{REFERENCE} missing" in refusal(signed, keys.public)
    assert REFERENCE in stock("verify", signed, keys.public).stderr
    shutil.move(tmp_path / REFERENCE, signed)
    assert accepted(signed, keys.public) == MODEL_SIGNATURE
    assert stock("verify", signed, keys.public).returncode == 0


@pytest.mark.parametrize("name", FILES)
def test_no_byte_of_a_file_may_change(name: str, signed: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((signed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (signed / name).write_bytes(content)
    assert name in refusal(signed, keys.public)
    capsys.readouterr()
    assert main(["verify", str(signed), "--public-key", str(keys.public)]) == 2
    said = capsys.readouterr().err
    assert (said.startswith("f2at verify: "), said.count("\n")) == (True, 1)


@pytest.mark.parametrize("part", ["payload", "sig", "hint"])
def test_no_byte_of_the_signature_may_change(part: str, signed: Path, keys: Keys) -> None:
    text = (signed / MODEL_SIGNATURE).read_text()
    found = json.loads(text)
    envelope = found["dsseEnvelope"]
    value = {
        "payload": envelope["payload"],
        "sig": envelope["signatures"][0]["sig"],
        "hint": found["verificationMaterial"]["publicKey"]["hint"],
    }[part]
    for place in range(0, len(value) - 4, max(1, len(value) // 7)):
        changed = value[:place] + ("A" if value[place] != "A" else "B") + value[place + 1 :]
        assert text.count(value) == 1
        (signed / MODEL_SIGNATURE).write_text(text.replace(value, changed))
        assert "not by any of the given keys" in refusal(signed, keys.public)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[]", b'{"verificationMaterial": {}}', b"x" * 300])
def test_what_is_no_signature_is_refused(content: bytes, signed: Path, keys: Keys) -> None:
    (signed / MODEL_SIGNATURE).write_bytes(content)
    assert "not by any of the given keys" in refusal(signed, keys.public)


def test_a_signature_of_another_bundle_is_refused(signed: Path, keys: Keys, bundle: Bundle, tmp_path: Path) -> None:
    """Everything in the folder fits together, and the signature is by the right key."""
    images, labels = bundle.reference()
    other = write_bundle(
        tmp_path / "other",
        manifest={**bundle.manifest, "note": "another"},
        classifier=bundle.files[CLASSIFIER],
        gradient=bundle.files[GRADIENT],
        images=images,
        labels=labels,
    )
    shutil.copy(signed / MODEL_SIGNATURE, other.path)
    assert "model.sig: it is of another manifest.json" in refusal(other.path, keys.public)


def test_the_bytes_that_were_loaded_are_what_is_verified(signed: Path, keys: Keys) -> None:
    """Not the files as they are when the signature is checked: there is no moment between."""
    bundle = load_bundle(signed)
    for name in FILES:
        (signed / name).write_bytes(b"replaced after loading")
    assert verify_bundle(bundle, read_public_keys(keys.public)) == MODEL_SIGNATURE


def test_a_file_that_was_replaced_before_loading_is_refused_although_the_right_one_lies_there_again(
    signed: Path, keys: Keys, bundle: Bundle, tmp_path: Path
) -> None:
    """What the library itself would read is right; what was loaded is not."""
    images, labels = bundle.reference()
    evil = write_bundle(
        tmp_path / "evil",
        manifest=bundle.manifest,
        classifier=bundle.files[CLASSIFIER],
        gradient=bundle.files[GRADIENT],
        images=images[::-1],
        labels=labels[::-1],
    )
    shutil.move(signed, tmp_path / "right")
    shutil.copytree(evil.path, signed)
    loaded = load_bundle(signed)
    shutil.rmtree(signed)
    shutil.move(tmp_path / "right", signed)
    with pytest.raises(SignatureError, match=r"it is of another manifest\.json"):
        verify_bundle(loaded, read_public_keys(keys.public))


@pytest.mark.slow
def test_a_signature_that_leaves_a_file_out_is_refused(folder: Path, keys: Keys) -> None:
    """The stock command accepts any classifier then."""
    assert stock("sign", folder, keys.private, "--ignore-paths", folder / CLASSIFIER).returncode == 0
    assert f"it does not list {CLASSIFIER}" in refusal(folder, keys.public)


@pytest.mark.slow
@pytest.mark.parametrize("ours", [True, False])
def test_what_else_lies_in_the_folder_is_signed_as_well(ours: bool, folder: Path, keys: Keys) -> None:
    """A model's card, for example. It is never loaded, so it may be gone; but altered it may not be, nor added."""
    (folder / "README.md").write_text("A card.\n")
    (folder / "audits").mkdir()
    (folder / "audits" / "report.json").write_text("{}")
    (folder / ".gitattributes").write_text("*.onnx filter=lfs\n")  # which the format leaves out
    if ours:
        assert main(["sign", str(folder), "--key", str(keys.private), "--format", "oms"]) == 0
    else:
        assert stock("sign", folder, keys.private).returncode == 0
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    assert stock("verify", folder, keys.public).returncode == 0

    (folder / "README.md").write_text("Another card.\n")
    assert "README.md is not what was signed" in refusal(folder, keys.public)
    assert stock("verify", folder, keys.public).returncode == 1
    (folder / "README.md").unlink()
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    (folder / "audits" / "latest.json").symlink_to("report.json")
    assert "audits/latest.json was not signed" in refusal(folder, keys.public)


@pytest.mark.slow
def test_what_a_signature_leaves_out_by_name_may_change(folder: Path, keys: Keys) -> None:
    (folder / "notes").mkdir()
    assert stock("sign", folder, keys.private, "--ignore-paths", folder / "notes").returncode == 0
    (folder / "notes" / "today.md").write_text("A note.\n")
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    assert stock("verify", folder, keys.public).returncode == 0
    (folder / "link").symlink_to("notes")
    assert "link was not signed" in refusal(folder, keys.public)


@pytest.mark.parametrize("form", ["shards", "blake2"])
def test_only_files_by_their_sha256_are_read(form: str, folder: Path, keys: Keys) -> None:
    """What the command of Model Signing writes; its library can do otherwise."""
    files = hashing.Config()
    if form == "shards":
        files.use_shard_serialization()
    else:
        files.use_file_serialization(hashing_algorithm="blake2")
    signer = signing.Config().use_elliptic_key_signer(private_key=keys.private).set_hashing_config(files)
    signer.sign(folder, folder / MODEL_SIGNATURE)
    assert "only files by sha256 are read" in refusal(folder, keys.public)


@pytest.mark.slow
def test_both_formats_lie_side_by_side(folder: Path, keys: Keys, tmp_path: Path) -> None:
    edwards = make_keys(tmp_path, "edwards")
    for more in (["--key", edwards.private], ["--key", keys.private, "--format", "oms"]):
        assert main(["sign", str(folder), *map(str, more)]) == 0
    assert accepted(folder, edwards.public) == SIGNATURE
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    assert stock("verify", folder, keys.public).returncode == 0

    (folder / MODEL_SIGNATURE).unlink()
    assert stock("sign", folder, keys.private).returncode == 0  # which lists our signature as well
    assert accepted(folder, keys.public) == MODEL_SIGNATURE
    (folder / SIGNATURE).write_bytes(b"replaced")
    assert f"{MODEL_SIGNATURE}: {SIGNATURE} is not what was signed" in refusal(folder, keys.public)


def test_a_key_is_tried_after_another(signed: Path, keys: Keys, tmp_path: Path) -> None:
    several = tmp_path / "several.pem"
    others = [make_keys(tmp_path, "edwards"), make_keys(tmp_path, "other", curve("P-384"))]
    several.write_bytes(b"".join(pair.public.read_bytes() for pair in (*others, keys)))
    assert accepted(signed, several) == MODEL_SIGNATURE


def test_keys_of_edwards_curves_are_refused(signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edwards = make_keys(tmp_path, "edwards")
    assert "takes EC keys (P-256, P-384 or P-521), and none of the given keys is one" in refusal(signed, edwards.public)
    capsys.readouterr()
    assert main(["sign", str(signed), "--key", str(edwards.private), "--format", "oms", "--overwrite"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"f2at sign: {edwards.private} holds no EC key (P-256, P-384 or P-521)")
    assert said.count("\n") == 1


def test_files_may_be_links_since_their_contents_count(signed: Path, keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for name in FILES:
        shutil.move(signed / name, tmp_path / "blobs" / name)
        (signed / name).symlink_to(tmp_path / "blobs" / name)
    assert accepted(signed, keys.public) == MODEL_SIGNATURE


def test_what_changes_while_it_is_signed_is_refused(folder: Path, keys: Keys) -> None:
    bundle = load_bundle(folder)
    (folder / REFERENCE).write_bytes(b"replaced after loading")
    with pytest.raises(SignatureError, match=f"it is of another {REFERENCE}"):
        sign_bundle(bundle, keys.private, "oms")


def test_a_link_is_signed_by_nobody(folder: Path, keys: Keys, tmp_path: Path) -> None:
    """Model Signing leaves it to its user to allow that."""
    shutil.move(folder / REFERENCE, tmp_path / "blob")
    (folder / REFERENCE).symlink_to(tmp_path / "blob")
    with pytest.raises(SignatureError, match=r"cannot be signed: Cannot use .* symlink"):
        sign_bundle(load_bundle(folder), keys.private, "oms")


def test_a_signature_names_what_it_lists(signed: Path) -> None:
    """The statement that others read: version 1 of the format, four files, each by its sha256."""
    found = json.loads((signed / MODEL_SIGNATURE).read_bytes())
    statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert [subject["name"] for subject in statement["subject"]] == ["digits"]
    manifest = json.loads((signed / MANIFEST).read_bytes())
    listed = {item["name"]: item["digest"] for item in statement["predicate"]["resources"]}
    assert sorted(listed) == sorted(FILES)
    assert {name: listed[name] for name in manifest["files"]} == {
        name: entry["sha256"] for name, entry in manifest["files"].items()
    }


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_nothing_asks_the_network(folder: Path, keys: Keys) -> None:
    """From the import on: no name is looked up, nothing is connected to."""
    sign = ["sign", str(folder), "--key", str(keys.private), "--format", "oms"]
    verify = ["verify", str(folder), "--public-key", str(keys.public)]
    done = python(
        "import sys\n"
        "def refuse(event, _):\n"
        "    if event.startswith('socket.') and event != 'socket.__new__': raise RuntimeError(event)\n"
        "sys.addaudithook(refuse)\n"
        "from f2at.__main__ import main\n"
        f"assert main({sign}) == 0 and main({verify}) == 0\n"
        "assert 'sigstore' in sys.modules\n"
        "import socket\n"
        "try: socket.getaddrinfo('localhost', 80)\n"
        "except RuntimeError: print('refused')\n"
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["refused"]), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", ["sign", "verify"])
def test_without_the_extra_it_is_named(what: str, signed: Path, keys: Keys) -> None:
    words = {
        "sign": ["sign", str(signed), "--key", str(keys.private), "--format", "oms", "--overwrite"],
        "verify": ["verify", str(signed), "--public-key", str(keys.public)],
    }[what]
    block = "import sys; sys.modules['model_signing'] = None\nfrom f2at.__main__ import main\n"
    done = python(f"{block}sys.exit(main({words}))")
    assert done.returncode == 2
    assert done.stderr.endswith("model_signing is not installed; pip install 'f2at[signing]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_library_is_imported_for_such_signatures_alone(bundle: Bundle, tmp_path: Path) -> None:
    folder, edwards = tmp_path / "signed", make_keys(tmp_path)
    shutil.copytree(bundle.path, folder)
    sign, verify = ["sign", str(folder), "--key", str(edwards.private)], ["verify", str(folder), "--public-key"]
    code = f"from f2at.__main__ import main\nassert main({sign}) == 0 and main({[*verify, str(edwards.public)]}) == 0\n"
    done = python(f"import sys\n{code}assert not {{'model_signing', 'sigstore'}} & sys.modules.keys()")
    assert done.returncode == 0, done.stderr
