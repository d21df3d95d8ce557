from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from f2at.__main__ import main
from f2at.arguments import ArgumentError
from f2at.audit import AuditRequest, run_audit
from f2at.audit.provenance.context import Context, read_context
from f2at.audit.reports.report import deterministic_part
from tests.audit.grey import grey_audit
from tests.readme import blocks

WHOLE = '''
responsible_person = "A. Lovelace"
responsible_role = "Head of machine learning"
intended_purpose = "Sorting parcels by their label"
operating_domain = "Hall 3, the cameras of 2026, artificial light"
data_provenance = """
1,000 labels photographed in March,
read by two people."""
eps_rationale = "as in the contract, annex 2"
threshold_rationale = "what the last model had"
previous_report = "sha256:00"
valid_until = 2027-06-30
audit_triggers = "another model, another camera"
'''


def test_all_of_it_is_read_from_a_file_and_what_is_left_out_is_null(tmp_path: Path) -> None:
    path = tmp_path / "report.toml"
    path.write_text(WHOLE)
    context = read_context(path)
    assert None not in context.model_dump().values()
    assert context.valid_until == "2027-06-30"
    assert context.data_provenance == "1,000 labels photographed in March,\nread by two people."
    path.write_text('valid_until = "2027-06-30"\n')
    assert read_context(path) == Context(valid_until="2027-06-30")
    assert read_context(path).model_dump() == {**dict.fromkeys(Context.model_fields), "valid_until": "2027-06-30"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("responsible = 'A'", "unknown argument 'responsible'; accepted: responsible_person, responsible_role, "),
        ("responsable_person = 'A'", "did you mean responsible_person?"),
        ("[audit_triggers]\nname = 'A'", "audit_triggers must be text of 1 to 2000 characters; got {'name': 'A'}"),
        ("intended_purpose = ' '", "intended_purpose must be text of 1 to 2000 characters; got ' '"),
        ('eps_rationale = "a\\u0000b"', "eps_rationale must be text of 1 to 2000 characters; got 'a\\x00b'"),
        ("eps_rationale = 8", "eps_rationale must be text of 1 to 2000 characters; got 8"),
        (f"audit_triggers = '{2001 * 'x'}'", "audit_triggers must be text of 1 to 2000 characters; got 'xx"),
        ("valid_until = 2027-06-30T12:00:00", "valid_until must be a day, YYYY-MM-DD; got datetime"),
        ("valid_until = '2027-02-30'", "valid_until must be a day, YYYY-MM-DD; got '2027-02-30'"),
        ("valid_until = 'soon'", "valid_until must be a day, YYYY-MM-DD; got 'soon'"),
        ("valid_until =", "context must be a TOML file; "),
        ("\xff", "context must be a TOML file; "),
    ],
)
def test_what_is_wrong_in_it_is_named_before_anything_is_attacked(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.toml"
    path.write_bytes(text.encode("latin-1"))
    output = tmp_path / "report.json"
    assert main(["audit", "nowhere", "--context", str(path), "--output", str(output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("f2at audit: ")
    assert str(path) in line
    assert reason in line
    assert not output.exists()


def test_the_documentation_s_example_is_read_and_has_every_field(tmp_path: Path) -> None:
    (example,) = blocks("toml", page="docs/audits.md", title="Who answers for it")
    path = tmp_path / "report.toml"
    path.write_text(example)
    assert None not in read_context(path).model_dump().values()


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.toml"
    assert main(["audit", "nowhere", "--context", str(missing), "--output", str(tmp_path / "report.json")]) == 2
    assert capsys.readouterr().err == f"f2at audit: {missing}: No such file or directory\n"


def test_the_schema_takes_what_is_taken() -> None:
    """For those who write it with other tools."""
    validator = Draft202012Validator(Context.model_json_schema())
    for text in ("A", "two\nlines", "\u00e9\u6f22\U0001f600", " ", "", "a\x00b", "x\x85", 2000 * "x", 2001 * "x", "\n"):
        taken = True
        try:
            Context(responsible_person=text)
        except ArgumentError:
            taken = False
        assert validator.is_valid({"responsible_person": text}) is taken, repr(text)
    assert not validator.is_valid({"valid_until": "soon"})
    assert not validator.is_valid({"surprise": "A"})


def test_it_shapes_no_figure_and_is_no_part_of_what_is_compared() -> None:
    audit = grey_audit([1, 2, 3, 9], attacks=[{"name": "fgsm"}], suite="custom")
    results = run_audit(audit)
    plain, told = audit.report(results), audit.report(results, context=Context(responsible_person="A. Lovelace"))
    assert plain != told
    assert deterministic_part(plain) == deterministic_part(told)
    assert "context" not in AuditRequest.model_fields  # and so of no seed, nor of what a journal is told by
