"""Signed statements of reports, with the verdict of other readers of in-toto and of OpenSSL."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import Parse, ParseDict
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from f2at.__main__ import main
from f2at.audit import run_audit
from f2at.audit.reports.files import write_report
from f2at.bundle.format import Bundle
from f2at.bundle.keys import SignatureError, read_private_key, read_public_keys
from f2at.evidence import in_toto
from tests.audit.grey import grey_audit
from tests.keys import ED25519, Keys, curve, make_keys, openssl

DIGEST = f"sha256:{'5a' * 32}"
KINDS = {"ed25519": ED25519, "P-256": curve("P-256"), "P-384": curve("P-384"), "P-521": curve("P-521")}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Of 36 images a third stand, and no flag is raised."""
    audit = grey_audit([1 + i % 12 for i in range(36)], eps="8/255", min_robust_accuracy=0.9)
    report: dict[str, Any] = audit.report(run_audit(audit))
    report["model"] |= {"digest": DIGEST, "file": "grey.onnx"}
    return report


@pytest.fixture(params=KINDS)
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Keys:
    return make_keys(tmp_path, kind=KINDS[request.param])


@pytest.fixture
def report(made: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    write_report(made, path)
    return path


def stock(path: Path, public: Path) -> tuple[Statement, Any]:
    """Statement and result as the packages of in-toto read them."""
    envelope = Envelope.from_dict(json.loads(path.read_bytes()))
    (key,) = read_public_keys(public)
    envelope.verify([SSlibKey.from_crypto(key)], 1)
    assert envelope.payload_type == "application/vnd.in-toto+json"
    statement = Statement.copy_from_pb(Parse(envelope.payload, statement_pb2.Statement()))
    statement.validate()
    predicate = json.loads(envelope.payload)["predicate"]
    return statement, ParseDict(predicate, test_result_pb2.TestResult())


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def with_outcome(made: dict[str, Any], outcome: str | None, *raised: str) -> dict[str, Any]:
    flags = [{**flag, "raised": flag["name"] in raised} for flag in made["flags"]]
    return {**made, "verdict": {**made["verdict"], "outcome": outcome}, "flags": flags}


def test_other_readers_accept_it(report: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    statement, result = stock(report.with_name("report.intoto.json"), keys.public)
    assert statement.pb.predicate_type == "https://in-toto.io/attestation/test-result/v0.1"
    (subject,) = statement.pb.subject
    assert (subject.name, dict(subject.digest)) == ("grey.onnx", {"sha256": "5a" * 32})
    content = report.read_bytes()
    read = json.loads(content)
    assert result.result == "FAILED"
    assert list(result.failed_tests) == ["min_robust_accuracy"]
    assert {*result.passed_tests} == {flag["name"] for flag in read["flags"] if flag["raised"] is False}
    assert {*result.warned_tests} == {flag["name"] for flag in read["flags"] if flag["raised"]}
    request, data, harness, described = result.configuration
    assert json.loads(request.content) == read["request"]
    assert request.digest["sha256"] == hashlib.sha256(request.content).hexdigest()
    assert data.digest["sha256"] == read["data"]["sha256"]
    assert harness.name == "f2at"
    assert described.digest["sha256"] == hashlib.sha256(content).hexdigest()

    capsys.readouterr()
    assert main(["verify", str(report), "--public-key", str(keys.public)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"verified  {report}.sig",
        f"verified  {report.with_name('report.intoto.json')}: FAILED",
    ]


def test_openssl_accepts_what_is_signed(report: Path, tmp_path: Path) -> None:
    """The bytes that DSSE prescribes, put together by hand."""
    keys = make_keys(tmp_path)
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    envelope = json.loads((tmp_path / "report.intoto.json").read_bytes())
    payload = base64.b64decode(envelope["payload"], validate=True)
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload)
    signature.write_bytes(base64.b64decode(envelope["signatures"][0]["sig"], validate=True))
    check = ["pkeyutl", "-verify", "-pubin", "-inkey", keys.public, "-rawin", "-in", message, "-sigfile", signature]
    assert openssl(*check).returncode == 0


@pytest.mark.parametrize(
    ("outcome", "raised", "result"),
    [
        ("pass", (), "PASSED"),
        ("pass", ("zero_gradients",), "WARNED"),
        ("inconclusive", (), "WARNED"),
        (None, (), "WARNED"),  # nothing was asked for that could have been met
        ("fail", ("zero_gradients",), "FAILED"),
    ],
)
def test_the_result_is_that_of_the_worst_test(
    outcome: str | None, raised: tuple[str, ...], result: str, made: dict[str, Any]
) -> None:
    found = in_toto.result_of(in_toto.statement(with_outcome(made, outcome, *raised), b""))
    assert found.result == result
    assert {*raised} <= {*found.warned_tests}
    where = {"pass": found.passed_tests, "fail": found.failed_tests}.get(outcome or "", found.warned_tests)
    assert "min_robust_accuracy" in where
    assert len([*found.passed_tests, *found.warned_tests, *found.failed_tests]) == 1 + len(made["flags"])


def test_the_harness_is_named_as_far_as_the_report_does(made: dict[str, Any]) -> None:
    harness: dict[str, Any] = {
        "name": "f2at",
        "version": "1.2",
        "commit": None,
        "digest": f"sha256:{'ab' * 32}",
        "environments": [{}],
    }
    for told, digest in ((harness, "ab" * 32), ({**harness, "digest": None}, "")):
        configuration = in_toto.result_of(in_toto.statement({**made, "harness": told}, b"")).configuration
        (found,) = [item for item in configuration if item.name == "f2at"]
        assert (found.digest.get("sha256", ""), found.annotations["version"]) == (digest, "1.2")
    plain = in_toto.result_of(in_toto.statement({**made, "repeat": None}, b"")).configuration[2]
    assert plain.annotations["environments"][0]["python"]


def test_what_was_drawn_from_a_store_is_named_besides(made: dict[str, Any]) -> None:
    data = {**made["data"], "drawn_sha256": "cd" * 32}
    configuration = in_toto.result_of(in_toto.statement({**made, "data": data}, b"")).configuration
    digests = {item.name: item.digest["sha256"] for item in configuration if "sha256" in item.digest}
    assert (digests["data"], digests["drawn images"]) == (made["data"]["sha256"], "cd" * 32)
    plain = in_toto.result_of(in_toto.statement(made, b"")).configuration
    assert "drawn images" not in [item.name for item in plain]


def test_what_was_not_looked_for_is_no_test(made: dict[str, Any]) -> None:
    flags = [{**flag, "raised": None} for flag in made["flags"]]
    found = in_toto.result_of(in_toto.statement({**made, "flags": flags}, b""))
    assert [*found.passed_tests, *found.warned_tests] == []


@pytest.mark.parametrize("kind", ["ed25519", "P-256"])
def test_no_byte_may_change(kind: str, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = make_keys(tmp_path, kind=KINDS[kind])
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    path = tmp_path / "report.intoto.json"
    content, public = path.read_bytes(), read_public_keys(keys.public)
    in_toto.verify_statement(content, public)
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(SignatureError, match=r"^[^\n]+$"):
            in_toto.verify_statement(changed, public)

    half = len(content) // 3  # inside the payload
    path.write_bytes(content[:half] + (b"A" if content[half : half + 1] != b"A" else b"B") + content[half + 1 :])
    assert "not by any of the given keys, or not of this content" in said(
        capsys, "verify", report, "--public-key", keys.public
    )
    with pytest.raises(VerificationError):
        stock(path, keys.public)


def test_another_key_does_not_verify(report: Path, keys: Keys, tmp_path: Path) -> None:
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    other = make_keys(tmp_path, "other")
    with pytest.raises(SignatureError, match="not by any of the given keys"):
        in_toto.verify_statement((tmp_path / "report.intoto.json").read_bytes(), read_public_keys(other.public))


def test_a_statement_belongs_to_its_report(
    report: Path, made: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = make_keys(tmp_path)
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    better = tmp_path / "better" / "report.json"
    write_report({**made, "context": {**made["context"], "intended_purpose": "another"}}, better)
    assert main(["sign", str(better), "--key", str(keys.private)]) == 0
    (tmp_path / "report.intoto.json").write_bytes(better.with_name("report.intoto.json").read_bytes())
    for path in (report, tmp_path / "report.intoto.json"):
        assert "the statement is of another report" in said(capsys, "verify", path, "--public-key", keys.public)


def test_a_report_that_contradicts_itself_is_not_signed(
    keys: Keys, made: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    write_report(with_outcome(made, "pass"), path)
    wrong = said(capsys, "sign", path, "--key", keys.private)
    assert wrong.endswith("report.json contradicts itself: its verdict is pass, and by its figures it is fail\n")
    assert sorted(file.name for file in tmp_path.iterdir() if "report" in file.name) == ["report.html", "report.json"]


def test_the_statement_is_enough(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It binds the report by its digest, so the signature beside it may be lost."""
    keys = make_keys(tmp_path)
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    (tmp_path / "report.json.sig").unlink()
    for path in (report, tmp_path / "report.intoto.json"):
        assert main(["verify", str(path), "--public-key", str(keys.public)]) == 0
    report.write_bytes(report.read_bytes().replace(b'"robust"', b'"Robust"', 1))
    assert "of another report" in said(capsys, "verify", report, "--public-key", keys.public)
    report.rename(tmp_path / "elsewhere.json")
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "report.intoto.json"), "--public-key", str(keys.public)]) == 0
    assert capsys.readouterr().out == f"verified  {tmp_path / 'report.intoto.json'}: FAILED\n"
    report = tmp_path / "elsewhere.json"
    assert "it is not signed" in said(capsys, "verify", report, "--public-key", keys.public)


def test_a_statement_is_held_against_the_model(
    report: Path, made: dict[str, Any], bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = make_keys(tmp_path)
    check = ["verify", report, "--public-key", keys.public, "--model", bundle.path]
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    assert f"the statement is of model {DIGEST}, not of {bundle.digest}" in said(capsys, *check)
    write_report({**made, "model": {**made["model"], "digest": bundle.digest}}, report)
    assert main(["sign", str(report), "--key", str(keys.private), "--overwrite"]) == 0
    assert main([*map(str, check)]) == 0


def test_without_a_digest_there_is_nothing_to_state(
    report: Path, made: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = make_keys(tmp_path)
    model = {name: value for name, value in made["model"].items() if name != "digest"}
    write_report({**made, "model": {**model, "url": "http://127.0.0.1/predict"}}, report)
    assert main(["sign", str(report), "--key", str(keys.private)]) == 0
    assert "no in-toto statement: " in capsys.readouterr().out
    assert not (tmp_path / "report.intoto.json").exists()
    check = ["verify", report, "--public-key", keys.public]
    assert main([*map(str, check)]) == 0
    assert "no statement beside it that says of which model it is" in said(capsys, *check, "--model", tmp_path)


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"_type": "https://in-toto.io/Statement/v1"}', b"[" * 5000])
def test_what_is_signed_but_no_statement_is_refused(payload: bytes, tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    private, public = read_private_key(keys.private), read_public_keys(keys.public)
    with pytest.raises(SignatureError, match="no statement of a test's result"):
        in_toto.verify_statement(in_toto.sign_payload(payload, private), public)


def test_no_statement_of_another_kind_is_accepted(made: dict[str, Any], tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    private, public = read_private_key(keys.private), read_public_keys(keys.public)
    statement = in_toto.statement(made, b"")
    statement.pb.predicate_type = "https://slsa.dev/provenance/v1"
    with pytest.raises(SignatureError, match="no statement of a test's result"):
        in_toto.verify_statement(in_toto.sign_statement(statement, private), public)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"payload": 3}', b"\xff", b"[" * 100_000])
def test_what_is_no_envelope_is_refused(content: bytes, tmp_path: Path) -> None:
    public = read_public_keys(make_keys(tmp_path).public)
    with pytest.raises(SignatureError, match="it is no signed statement"):
        in_toto.verify_statement(content, public)


def test_both_signatures_are_replaced_only_where_that_is_asked_for(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = make_keys(tmp_path)
    statement = tmp_path / "report.intoto.json"
    statement.write_text("somebody else's")
    assert f"{statement} exists; give --overwrite" in said(capsys, "sign", report, "--key", keys.private)
    assert not (tmp_path / "report.json.sig").exists()
    assert main(["sign", str(report), "--key", str(keys.private), "--overwrite"]) == 0
    stock(statement, keys.public)


def test_other_files_get_a_signature_and_no_statement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys, file = make_keys(tmp_path), tmp_path / "model.onnx"
    file.write_bytes(b"ONNX")
    (tmp_path / "model.intoto.json").write_text("of somebody else, for whatever it says")
    assert main(["sign", str(file), "--key", str(keys.private)]) == 0
    assert main(["verify", str(file), "--public-key", str(keys.public)]) == 0
    assert capsys.readouterr().out == f"signed    {file}.sig\nverified  {file}.sig\n"


def test_only_reports_are_of_a_model(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["verify", bundle.path, "--public-key", make_keys(tmp_path).public, "--model", bundle.path]
    assert said(capsys, *check) == f"f2at verify: model is for reports; got {bundle.path}, which is a folder\n"


def test_only_bundles_have_a_format(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = make_keys(tmp_path)
    wrong = said(capsys, "sign", report, "--key", keys.private, "--format", "oms")
    assert wrong == f"f2at sign: format oms is of bundles; got {report}, which is a file\n"
