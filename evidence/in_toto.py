"""A report as a signed statement of a test's result, which policy engines read: in-toto's test-result v0.1 in DSSE.

The statement is about the audited model, by its digest. It is the report's verdict and flags as the names of tests, and
says by which request, data and harness it came about; the digest of the report's file binds the two together.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
https://github.com/secure-systems-lab/dsse
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict, MessageToJson, Parse, ParseDict, ParseError
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error, VerificationError
from securesystemslib.signer import Signature, SSlibKey

from f2at.audit.provenance.repetition import model_name
from f2at.bundle.keys import PrivateKey, PublicKey, SignatureError, sign, wrong_signature

SUFFIX = ".intoto.json"
MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
THRESHOLD = "min_robust_accuracy"  # the test that the report's verdict is of, by the request's name for it
_PAYLOAD = "application/vnd.in-toto+json"
_JSON = "application/json"


def statement(report: Mapping[str, Any], content: bytes) -> Statement:
    """What a report says of its model, as a statement that is not signed yet.

    A threshold that is met is a passed test, one that is not a failed one; if the report cannot tell, or no threshold
    was set, it is a warned one. A sanity flag is a passed test, or a warned one if it is raised; what was not looked
    for is none. The result is that of the worst test, so that nothing is PASSED without a threshold.

    Args:
        report: the report.
        content: the bytes of its file.

    Raises:
        ValueError: it names no model by a sha256, so that there is nothing to make a statement about.
    """
    algorithm, _, digest = report["model"].get("digest", "").partition(":")
    if algorithm != "sha256":
        raise ValueError(
            "a statement is about a model's sha256, and the report has none: its model is known by URL alone"
        )
    passed: list[str] = []
    warned: list[str] = []
    failed: list[str] = []
    {"pass": passed, "fail": failed}.get(report["verdict"]["outcome"], warned).append(THRESHOLD)
    for flag in report["flags"]:
        if flag["raised"] is not None:
            (warned if flag["raised"] else passed).append(flag["name"])
    request = json.dumps(report["request"], sort_keys=True).encode()
    configuration = [
        ResourceDescriptor(name="request", digest=_sha256(request), content=request, media_type=_JSON),
        *_data(report["data"]),
        _harness(report),
        ResourceDescriptor(name="report", digest=_sha256(content), media_type=_JSON),
    ]
    result = TestResult(
        result="FAILED" if failed else "WARNED" if warned else "PASSED",
        configuration=[descriptor.pb for descriptor in configuration],
        passed_tests=passed,
        warned_tests=warned,
        failed_tests=failed,
    )
    subject = ResourceDescriptor(name=model_name(report) or "model", digest={"sha256": digest})
    made = Statement([subject.pb], PREDICATE, MessageToDict(result))
    made.validate()
    return made


def sign_statement(made: Statement, key: PrivateKey) -> bytes:
    """The statement in an envelope with the signature of `key`, as the content of a file."""
    return sign_payload(MessageToJson(made.pb, indent=None).encode(), key)


def sign_payload(payload: bytes, key: PrivateKey) -> bytes:
    """An envelope with the signature of `key` around what should be a statement, as the content of a file."""
    envelope = Envelope(payload, _PAYLOAD, {})
    keyid = SSlibKey.from_crypto(key.public_key()).keyid
    envelope.signatures[keyid] = Signature(keyid, sign(envelope.pae(), key).hex())
    return _encode(envelope)


def verify_statement(content: bytes, keys: Sequence[PublicKey]) -> Statement:
    """The statement in the content of a file, if one of the keys signed it.

    Raises:
        SignatureError: none did, or it is no statement of a test's result, or is not written as `sign_statement` does.
    """
    try:
        envelope = Envelope.from_dict(json.loads(content))
        whole = _encode(envelope) == content
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, Error):
        raise SignatureError("it is no signed statement: f2at sign REPORT writes one") from None
    try:
        envelope.verify([SSlibKey.from_crypto(key) for key in keys], threshold=1)
    except VerificationError:
        raise wrong_signature() from None
    if not whole:  # the signature is of the statement alone
        raise SignatureError("the envelope was written anew around its statement")
    try:
        found = Statement.copy_from_pb(Parse(envelope.payload, StatementMessage()))
        found.validate()
        result_of(found)
    except (ValueError, ParseError):
        found = None
    if found is None or (envelope.payload_type, found.pb.predicate_type) != (_PAYLOAD, PREDICATE):
        raise SignatureError("it is signed, but no statement of a test's result")
    return found


def check_report(found: Statement, report: bytes) -> None:
    """Refuse a statement that is not of this report.

    Raises:
        SignatureError: it names the digest of other bytes.
    """
    named = [item.digest["sha256"] for item in result_of(found).configuration if item.name == "report"]
    if named != [_sha256(report)["sha256"]]:
        raise SignatureError("the statement is of another report")


def check_model(found: Statement, digest: str) -> None:
    """Refuse a statement that is not of the model with this digest, "sha256:<hex>".

    Raises:
        SignatureError: it is of another one.
    """
    named = [f"sha256:{subject.digest['sha256']}" for subject in found.pb.subject]
    if named != [digest]:
        raise SignatureError(f"the statement is of model {', '.join(named)}, not of {digest}")


def result_of(found: Statement) -> TestResult:
    """What the statement says of its subject.

    Raises:
        ValueError: it is of another form than this type of statement.
    """
    return ParseDict(MessageToDict(found.pb.predicate), TestResult())


def _data(data: Mapping[str, Any]) -> Iterator[ResourceDescriptor]:
    """The set; where its digest is over names and sizes alone, also what was drawn from it."""
    yield ResourceDescriptor(name="data", digest={"sha256": data["sha256"]})
    if "drawn_sha256" in data:
        yield ResourceDescriptor(name="drawn images", digest={"sha256": data["drawn_sha256"]})


def _harness(report: Mapping[str, Any]) -> ResourceDescriptor:
    """What computed the figures."""
    harness = report["harness"]
    digest = (harness.get("digest") or "").removeprefix("sha256:")
    annotations = {name: value for name, value in harness.items() if name not in ("name", "digest")}
    return ResourceDescriptor(name="f2at", digest=digest and {"sha256": digest}, annotations=annotations)


def _encode(envelope: Envelope) -> bytes:
    return (json.dumps(envelope.to_dict()) + "\n").encode()


def _sha256(content: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest()}
