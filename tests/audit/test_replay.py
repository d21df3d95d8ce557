"""The command that a report names gives the same figures again, and `f2at replay` says so, or what differs."""

import copy
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import f2at
from f2at.__main__ import main
from f2at.audit.provenance.repetition import OUTPUT
from f2at.audit.reports.report import deterministic_part, without_examples
from f2at.audit.reports.statistics import proportion
from f2at.bundle.format import load_bundle
from f2at.images.png import png
from tests.audit.endpoint.host import MISSING, Answer, Asked, as_json, host, light, pictures, probabilities
from tests.audit.grey import grey_images
from tests.audit.models import MEAN, STD, save_images, save_normalised
from tests.readme import commands

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo" / "cifar10-small"
DISTANCES = [1 + i % 12 for i in range(24)]
QUICKLY = ("--attack", "fgsm", "--attack", "pgd:steps=3,step_size=0.007,as=short", "--samples", "12", "--threads", "1")
FLOATS = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--scale", "1.0")
pytestmark = pytest.mark.slow
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Where files are that a report is made of; the report must not say so."""
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to repeat the audit in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def audited(elsewhere: Path, here: Path) -> Run:
    """Audits by the command, from another folder than the one that the files are in, and reads the report."""

    def run(*arguments: object) -> dict[str, Any]:
        assert main(["audit", *map(str, arguments), "--quiet", "--output", str(elsewhere / "report.json")]) == 0
        text = (elsewhere / "report.json").read_text()
        assert str(elsewhere) not in text + (elsewhere / "report.html").read_text()
        report: dict[str, Any] = json.loads(text)
        return report

    return run


def repeated(report: dict[str, Any], here: Path) -> dict[str, Any]:
    """What the report's very command gives in a shell."""
    script = f'f2at() {{ "{sys.executable}" -m f2at "$@"; }}\n{report["repeat"]["command"]} --quiet --overwrite\n'
    done = subprocess.run(
        ["sh", "-c", script], cwd=here, env={**ENVIRONMENT}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    again: dict[str, Any] = json.loads((here / OUTPUT).read_text())
    return again


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_bundle_s_audit_again_by_the_command(audited: Run, elsewhere: Path, here: Path) -> None:
    shutil.copytree(ZOO, elsewhere / "a model's")
    threshold = ("--min-robust-accuracy", "0.01", "--accept-weak", "--confidence", "0.9")
    report = audited(elsewhere / "a model's", *QUICKLY, "--seed", "3", *threshold, "--no-curve")
    assert report["repeat"] == {
        "command": "f2at audit 'a model'\"'\"'s' --threads 1 --attack fgsm --attack "
        "pgd:steps=3,step_size=0.007,as=short --eps 8/255 --norm linf --samples 12 --seed 3 --examples 8 "
        "--min-robust-accuracy 0.01 --accept-weak --confidence 0.9 --no-curve --output repeated.json",
        "files": [{"what": "model", "name": "a model's", "digest": load_bundle(ZOO).digest}],
        "withheld": [],
    }
    shutil.copytree(ZOO, here / "a model's")
    again = repeated(report, here)
    assert deterministic_part(again) == deterministic_part(report)
    assert again["repeat"] == report["repeat"]


def test_an_onnx_file_s_audit_again_by_the_command(audited: Run, elsewhere: Path, here: Path) -> None:
    """With all that a graph does not tell, names with commas among it, and pictures in folders."""
    save_normalised(elsewhere / "grey.onnx")
    images, labels = grey_images(DISTANCES)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = elsewhere / "photos" / ("dark, as at night", "light")[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(png(pixels))
    names = elsewhere / "names.txt"
    names.write_text("dark, as at night\nlight\n")
    report = audited(elsewhere / "grey.onnx", "--data", elsewhere / "photos", *FLOATS, *QUICKLY, "--classes", names)
    command = shlex.split(report["repeat"]["command"])
    assert command[:3] == ["f2at", "audit", "grey.onnx"]
    assert command[command.index("--classes") + 1] == '["dark, as at night", "light"]'
    assert command[command.index("--mean") + 1] == "0.485,0.456,0.406"
    assert [file["what"] for file in report["repeat"]["files"]] == ["model", "data"]
    assert report["repeat"]["files"][1] == {
        "what": "data",
        "name": "photos",
        "digest": f"sha256:{report['data']['sha256']}",
    }
    shutil.copy(elsewhere / "grey.onnx", here)
    shutil.copytree(elsewhere / "photos", here / "photos")
    assert deterministic_part(repeated(report, here)) == deterministic_part(report)


def test_an_audit_of_images_in_a_store_again(
    audited: Run, elsewhere: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are listed again; and a report alone fetches nothing from anywhere."""
    save_normalised(elsewhere / "grey.onnx")
    store = fsspec.filesystem("memory")
    images, labels = grey_images(DISTANCES)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        name = f"{('dark', 'light')[label]}/{number}.png"
        (elsewhere / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / "photos" / name).write_bytes(png(pixels))
        store.pipe(f"/replayed/photos/{name}", png(pixels))
    model = (elsewhere / "grey.onnx", *FLOATS, *QUICKLY)
    report = audited(*model, "--data", f"file://{elsewhere / 'photos'}")
    assert report["repeat"]["files"][1]["name"] == "file://photos"
    shutil.copy(elsewhere / "grey.onnx", here)
    shutil.copytree(elsewhere / "photos", here / "photos")
    assert deterministic_part(repeated(report, here)) == deterministic_part(report)
    again = ["replay", str(elsewhere / "report.json"), str(elsewhere / "grey.onnx"), "--quiet"]
    assert main(again) == 0  # the folder lies beside it
    assert main([*again, "--data", "memory://replayed/photos"]) == 0

    stored = audited(*model, "--data", "memory://replayed/photos", "--overwrite")
    assert stored["repeat"]["files"][1]["name"] == "memory://replayed/photos"
    assert stored["data"] == report["data"]
    capsys.readouterr()
    assert main(again) == 2
    assert "data must be given for a report on images in a store: their URL; it says memory:" in capsys.readouterr().err
    assert main([*again, "--data", str(elsewhere / "photos")]) == 0  # a copy on disk, listed as the store was
    store.rm("/replayed/photos/dark/0.png")
    assert main([*again, "--data", "memory://replayed/photos"]) == 2
    assert "memory://replayed/photos is another than the report's" in capsys.readouterr().err
    store.rm("/replayed", recursive=True)


def test_black_box_and_transfer_audits_again_by_the_command(audited: Run, elsewhere: Path, here: Path) -> None:
    bundle = load_bundle(ZOO)
    images, labels = bundle.reference()
    for folder in (elsewhere, here):
        np.savez(folder / "-d.npz", images=images[:20], labels=labels[:20])
        shutil.copy(ZOO / "classifier.onnx", folder / "-m.onnx")
        shutil.copytree(ZOO, folder / "other")
    data = (f"--data={elsewhere / '-d.npz'}", "--samples", "5", "--eps", "0.031", "--threads", "1", "--no-curve")
    for case in (
        ("--black-box", "--attack", "square:queries=20"),
        ("--attack", "transfer-mi:steps=3", "--attack", "transfer-di:steps=2", "--surrogate", elsewhere / "other"),
    ):
        report = audited(elsewhere / "-m.onnx", *data, *case, "--overwrite")
        assert deterministic_part(repeated(report, here)) == deterministic_part(report)
    assert [file["name"] for file in report["repeat"]["files"]] == ["-m.onnx", "-d.npz", "other"]
    assert report["repeat"]["files"][2]["digest"] == bundle.digest


def test_an_endpoint_s_audit_again_by_the_command(
    audited: Run, elsewhere: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys and queries stay out of the report, and a report alone sends nothing to anybody."""

    def answer(asked: Asked) -> Answer:
        known = asked.headers.get("X-Key") == "secret" and asked.path.endswith("?version=hidden")
        if asked.method != "POST" or not known:
            return MISSING
        return as_json({"probabilities": probabilities(light(pictures(asked))[0])})

    for folder in (elsewhere, here):
        save_images(folder / "grey.npz", DISTANCES)
    with host(answer) as (address, asked):
        url = f"{address}/predict"
        monkeypatch.setenv("F2AT_ENDPOINT_KEY", "secret")
        report = audited(
            *(f"{url}?version=hidden", "--data", elsewhere / "grey.npz", "--classes", "dark,light"),
            *("--key-header", "X-Key", "--attack", "square:queries=30", "--samples", "6", "--max-queries", "2000"),
        )
        assert not {"secret", "hidden"} & set(shlex.split(json.dumps(report)))
        assert report["repeat"]["withheld"] == ["the key, in F2AT_ENDPOINT_KEY", "the query of the URL"]
        assert report["repeat"]["files"][0] == {"what": "model", "name": url, "digest": None}
        words = shlex.split(report["repeat"]["command"])
        assert words[2] == url
        words[2] += "?version=hidden"
        assert main([*words[1:], "--quiet"]) == 0
        assert deterministic_part(json.loads((here / OUTPUT).read_text())) == deterministic_part(report)

        replay = ["replay", str(elsewhere / "report.json"), "--quiet"]
        before = len(asked)
        assert main(replay) == 2
        assert len(asked) == before
        assert (
            f"MODEL must be given for a report of a model behind HTTP: its URL; it says {url}"
            in capsys.readouterr().err
        )
        assert main([*replay, f"{url}?version=hidden"]) == 0
        assert "nothing differs" in capsys.readouterr().out
        assert main([*replay, f"{address}/another?version=hidden"]) == 2
        assert f"MODEL {address}/another?version=hidden is another than the report's" in capsys.readouterr().err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("made") / "report.json"
    assert main(["audit", str(ZOO), *QUICKLY, "--eps", "16/255", "--quiet", "--output", str(path)]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture
def report(made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(made)


def replay(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["replay", *map(str, arguments), "--quiet"])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_replay_says_that_nothing_differs_wherever_the_model_is(
    report: dict[str, Any], elsewhere: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, bundle = elsewhere / "report.json", elsewhere / "cifar10-small"
    path.write_text(json.dumps(report))
    shutil.copytree(ZOO, bundle)
    code, out, _ = replay(capsys, path)  # the model is beside it
    assert code == 0
    first, second = out.splitlines()
    assert first.startswith("nothing differs: all ")
    assert second == "harness, processor and libraries are the same, too"
    assert int(first.split()[3].replace(",", "")) > 300
    bundle.rename(elsewhere / "renamed")
    missing = "f2at replay: there is no cifar10-small here or beside the report: give its path as MODEL\n"
    assert replay(capsys, path) == (2, "", missing)
    # A copy without pictures, as a service gives to those who may not have them.
    path.write_text(json.dumps(without_examples(report)))
    assert report["examples"]
    assert replay(capsys, path, elsewhere / "renamed")[0] == 0


def test_the_documentation_s_replay_runs_as_it_is_printed(
    report: dict[str, Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ZOO, here / "bundles" / "digits")
    (here / "report.json").write_text(json.dumps(report))
    (printed,) = commands("replay", page="docs/audits.md", title="Repeat an audit")
    assert main(printed) == 0
    assert capsys.readouterr().out.startswith("nothing differs: all ")


def test_a_replay_lists_what_differs_and_what_may_explain_it(
    report: dict[str, Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = next(n for n, sample in enumerate(report["samples"]) if sample["broken_by"])
    sample = report["samples"][broken]
    by = sample["broken_by"]
    was = {key: sample.pop(key) for key in list(sample) if key.startswith("adversarial")}
    sample["broken_by"] = None
    k, n = report["robust"]["k"], report["robust"]["n"]
    report["robust"] = proportion(k + 1, n)
    path = here / "altered.json"
    path.write_text(json.dumps(report))
    code, out, _ = replay(capsys, path, ZOO)
    assert code == 4
    lines = out.splitlines()
    assert f"  robust.k: {k + 1}, now {k}" in lines
    assert f"  samples[{broken}].broken_by: null, now {by}" in lines
    assert f"  samples[{broken}].adversarial_distance: (absent), now {was['adversarial_distance']}" in lines
    assert lines[-2].startswith("8 of ")
    assert "the report was altered, or the model does not answer the same twice" in lines[-1]

    (environment,) = report["harness"]["environments"]
    environment["onnxruntime"] = "1.0"
    environment["processor"]["features"].append("avx1024")
    report["harness"]["version"] = "0.0.1"
    path.write_text(json.dumps(report))
    code, out, _ = replay(capsys, path, ZOO)
    assert code == 4
    likely = out.splitlines()[out.splitlines().index("likely causes:") + 1 :]
    assert f"  version: 0.0.1, now {f2at.__version__}" in likely
    assert "  processor.features: avx1024, now (absent)" in likely
    assert any(line.startswith("  onnxruntime: 1.0, now ") for line in likely)
    assert len(likely) == 3

    code, out, _ = replay(capsys, path, ZOO, "--format", "json")
    found = json.loads(out)
    assert code == 4
    assert {"field": "robust.k", "then": k + 1, "now": k} in found["differences"]
    assert [row["field"] for row in found["harness"]] == ["version", "onnxruntime", "processor.features"]
    assert n == 12


def test_another_model_or_other_data_are_named(
    audited: Run, elsewhere: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_normalised(elsewhere / "grey.onnx")
    save_images(elsewhere / "grey.npz", DISTANCES)
    report = audited(elsewhere / "grey.onnx", "--data", elsewhere / "grey.npz", *FLOATS, *QUICKLY)
    path = elsewhere / "report.json"
    assert replay(capsys, path)[0] == 0
    other, digest = save_images(here / "other.npz", DISTANCES[1:]), report["data"]["sha256"]
    code, _, error = replay(capsys, path, "--data", other)
    assert code == 2
    assert error.startswith(f"f2at replay: data {other} is another than the report's: ")
    assert error.endswith(f", not {digest}\n")
    altered = here / "grey.onnx"
    altered.write_bytes((elsewhere / "grey.onnx").read_bytes().replace(b"grey", b"gray"))
    code, _, error = replay(capsys, path, altered)
    assert code == 2
    assert error.startswith(f"f2at replay: MODEL {altered} is another than the report's: sha256:")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.update(repeat=None), "names no command that repeats it"),
        (
            lambda r: r["repeat"].update(command="f2at audit --help"),
            "none that this version takes: usage: f2at audit",
        ),
        (lambda r: r["repeat"].update(command="rm -r /"), "'rm -r /' does not match '^f2at audit '"),
        (
            lambda r: r["repeat"].update(command="f2at audit 'x"),
            "none that this version takes: No closing quotation",
        ),
        (
            lambda r: r["repeat"].update(command="f2at audit x --output y.json --eps 1/255"),
            "contradicts itself: its command asks for another audit than it was",
        ),
        (lambda r: r["repeat"].update(files=[]), "is not a whole audit report: repeat.files: [] should be non-empty"),
        (
            lambda r: r["repeat"]["files"][0].update(what="data"),
            "is not a whole audit report: repeat.files: there is no model among them",
        ),
        (lambda r: r["harness"].pop("environments"), "harness: 'environments' is a required property"),
        (lambda r: r["robust"].update(k=12), "contradicts itself: its samples do not add up"),
        (lambda r: r.update(schema_version=1), "has schema version 1"),
    ],
)
def test_reports_that_cannot_be_replayed_are_bad_input(
    report: dict[str, Any],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    reason: str,
) -> None:
    change(report)
    path = here / "altered.json"
    path.write_text(json.dumps(report))
    code, out, error = replay(capsys, path, ZOO)
    assert (code, out) == (2, "")
    assert reason in error
    assert error.count("\n") == 1
