"""The options of `f2at audit` and `f2at compare` that write shapes."""

import json
import xml.etree.ElementTree
from pathlib import Path

import pytest

from f2at.__main__ import main
from tests.evidence.grey import DISTANCES, grey_data, grey_model
from tests.readme import commands

SHAPES = ("junit", "sarif", "summary")


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of an audit of the grey classifier, in an empty folder beside."""
    model, data = grey_model(tmp_path / "model.onnx"), grey_data(tmp_path / "data.npz")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return ["audit", str(model), "--data", str(data), "--attack", "fgsm", "--eps", "8/255", "--threads", "1", "--quiet"]


def test_one_command_writes_them_all(audit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: Path("shapes", name) for name in SHAPES}
    given = [f"--{name}={path}" for name, path in files.items()]
    assert main([*audit, "--output", "report.json", "--min-robust-accuracy", "0.9", *given]) == 3
    assert capsys.readouterr().out.splitlines()[-5:] == ["report.json", "report.html", *map(str, files.values())]
    assert xml.etree.ElementTree.parse(files["junit"]).find(".//failure[@type='failed']") is not None
    (run,) = json.loads(files["sarif"].read_text())["runs"]
    (result,) = run["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "report.json"
    assert "Robustness audit: fail" in files["summary"].read_text()

    assert main(["compare", "report.json", "report.json", *given, "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(": pass\n" + "".join(f"{path}\n" for path in files.values()))
    assert "compared with the baseline: pass" in files["summary"].read_text()
    assert main(["compare", "report.json", "report.json", *given, "--overwrite", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["gate"]["outcome"] == "pass"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--junit=there.xml"], "there.xml exists; give --overwrite or another --junit"),
        (["--sarif=."], "sarif must name a file to write; . is a folder"),
        (
            ["--summary=report.json"],
            "summary must name a file of its own; report.json is another output of this command",
        ),
        (["--junit=a", "--sarif=a"], "sarif must name a file of its own; a is another output of this command"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_audit(
    given: list[str], reason: str, audit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.xml").write_text("mine")
    assert main([*audit, "--output", "report.json", *given]) == 2
    assert capsys.readouterr().err == f"f2at audit: {reason}\n"
    assert [path.name for path in Path().iterdir()] == ["there.xml"]
    assert Path("there.xml").read_text() == "mine"


@pytest.mark.slow
def test_the_documentation_s_commands_run_as_they_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fewer images, and of another bundle under the name that is printed."""
    for name in ("bundles/digits", "zoo/cifar10"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(Path(__file__).parents[2] / "zoo" / "cifar10-small")
    monkeypatch.chdir(tmp_path)
    printed = {name: commands(name, page="docs/pipelines.md") for name in ("audit", "compare", "card")}
    assert [len(found) for found in printed.values()] == [1, 1, 1]
    assert main([*printed["audit"][0], "--samples", "5", "--threads", "1", "--quiet"]) in (3, 4)
    for name in ("deployed.json", "candidate.json"):
        Path(name).write_bytes(Path("report.json").read_bytes())
    assert main(printed["compare"][0]) == 0
    assert main(printed["card"][0]) == 0
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert {"junit.xml", "audit.sarif", "summary.md", "compared.xml", "compared.sarif", "compared.md"} < written
    assert "card.md" in written


def test_a_third_of_the_images_stand(audit: list[str]) -> None:
    """What the other tests of this folder rest on."""
    main([*audit, "--output", "report.json"])
    assert json.loads(Path("report.json").read_text())["robust"]["k"] == sum(distance > 8 for distance in DISTANCES)
