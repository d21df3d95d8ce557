"""The command line, on a bundle exported from a linear model."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from f2at.__main__ import main
from f2at.attacks.objectives import OBJECTIVES
from f2at.attacks.registry import ATTACKS
from f2at.audit.commands.planning import shared
from f2at.audit.provenance.notation import parse_attack
from f2at.audit.reports.schema import report_schema
from f2at.audit.reports.statistics import proportion
from f2at.audit.suites import SUITES
from f2at.bundle.format import write_bundle
from f2at.export.graphs import export_graphs
from f2at.images.png import png
from tests.audit.grey import SIDE, grey_images
from tests.audit.models import MEAN, STD, save_images, save_normalised
from tests.readme import commands

ROOT = Path(__file__).parents[2]
DISTANCES = [1 + i % 12 for i in range(36)]
WITHOUT_TORCH = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "lightning"}:
            raise ModuleNotFoundError(f"{name} is not to be imported here")
sys.meta_path.insert(0, Block())
sys.argv[:1] = ["f2at", "audit"]
runpy.run_module("f2at", run_name="__main__", alter_sys=True)
"""
pytestmark = pytest.mark.slow  # exporting takes seconds
Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grey classifier of `tests.audit.grey` as a linear layer, exported."""
    layer = nn.Linear(3 * SIDE * SIDE, 2)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([[0.0], [255 / layer.in_features]])
        layer.bias[:] = torch.tensor([100.5, 0.0])
    classifier, gradient = export_graphs(nn.Sequential(nn.Flatten(), layer).eval(), (SIDE, SIDE))
    images, labels = grey_images(DISTANCES)
    path = tmp_path_factory.mktemp("bundles") / "grey"
    manifest = {"classes": ["dark", "light"], "input_size": [SIDE, SIDE], "objectives": list(OBJECTIVES)}
    write_bundle(path, manifest=manifest, classifier=classifier, gradient=gradient, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grey classifier as others export models: floats, channels first, normalised outside of the graph."""
    return save_normalised(tmp_path_factory.mktemp("models") / "model.onnx")


@pytest.fixture
def run(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Audits in this process: (exit code, standard output, lines of standard error)."""

    def run(*arguments: str, source: Path | None = bundle) -> tuple[int, str, list[str]]:
        named = [] if source is None else [str(source)]
        code = main(["audit", *named, "--output", str(tmp_path / "report.json"), "--quiet", *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err.splitlines()

    return run


def test_audit_of_a_bundle_without_torch(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(bundle), "--output", str(tmp_path / "report.json")]
    command += ["--eps", "8/255", "--samples", "36", "--min-robust-accuracy", "0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "robust accuracy 33.3%, 95 % interval 20.2% to 49.7%" in done.stdout
    assert "threshold 10.0%: pass" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["robust"]["k"]) == (36, 12)
    nearest = {d["index"]: d["levels"] for d in report["curve"]["minimal_perturbations"]}
    assert nearest == {index: DISTANCES[index] for index in nearest}
    assert len(nearest) == 36
    assert [flag["name"] for flag in report["flags"] if flag["raised"]] == []
    assert report["model"]["digest"] == json.loads((bundle / "manifest.json").read_text())["digest"]
    assert report["harness"]["environments"][0]["provider"].endswith("ExecutionProvider")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "light" in page
    assert report["model"]["digest"] in page


def test_thresholds_become_exit_codes_and_reports_are_not_overwritten(run: Run, tmp_path: Path) -> None:
    quick = ("--attack", "fgsm", "--eps", "8/255")
    assert run(*quick, "--samples", "20", "--min-robust-accuracy", "0.9")[0] == 3
    assert run(*quick) == (
        2,
        "",
        [f"f2at audit: {tmp_path / 'report.json'} exists; give --overwrite or another --output"],
    )
    assert run(*quick, "--min-robust-accuracy", "0.3", "--overwrite")[0] == 4


def test_a_weak_suite_passes_no_threshold_unless_that_is_accepted(run: Run, tmp_path: Path) -> None:
    """12 of 36 stand, 20.2 to 49.7 %: what fails is proven by any attack, what passes is not."""

    def outcome(*arguments: str) -> tuple[int, str]:
        code, printed, _ = run("--eps", "8/255", "--overwrite", *arguments)
        return code, printed

    weak = ("--suite", "quick")
    code, printed = outcome(*weak, "--min-robust-accuracy", "0.1")
    assert code == 4
    assert "suite quick, weak: " in printed
    assert "but the suite quick is weak: audit with the suite adaptive (--suite adaptive), or accept" in printed
    assert outcome(*weak, "--min-robust-accuracy", "0.6")[0] == 3
    code, printed = outcome(*weak, "--min-robust-accuracy", "0.1", "--accept-weak")
    assert code == 0
    assert "The suite quick is weak, which was accepted before the run." in printed
    code, printed = outcome("--min-robust-accuracy", "0.1")
    assert code == 0
    assert "suite adaptive, strong: " in printed
    # At this level, 24.4 to 43.6 %.
    assert outcome("--min-robust-accuracy", "0.23", "--confidence", "0.8")[0] == 0
    assert outcome("--min-robust-accuracy", "0.23")[0] == 4


def test_what_answers_alone_withstand_is_not_called_robust(run: Run, tmp_path: Path, normalised: Path) -> None:
    data = save_images(tmp_path / "images.npz", [20] * 30)
    attack = ("--black-box", "--attack", "square:queries=5", "--eps", "1/255", "--min-robust-accuracy", "0.5")
    code, printed, _ = run("--data", str(data), *FLOATS, *attack, source=normalised)
    assert code == 4
    assert "accuracy under black-box attacks 100.0%, 95 % interval " in printed
    assert "robust accuracy" not in printed
    assert "the attacks broke nothing" in printed
    assert "audit with the suite adaptive, which follows the gradients of the model itself" in printed


def test_a_plan_says_how_many_images_and_how_long(run: Run, tmp_path: Path) -> None:
    """By hand: of 4 images all right, Wilson's interval begins at 51.01 %, and of 3 at 43.9 %; 0.99 ** 4 is 0.96."""
    code, printed, errors = run("--plan", "--min-robust-accuracy", "0.5", "--expect", "0.99", "--samples", "3")
    assert (code, errors) == (0, [])
    first, cost = printed.splitlines()
    assert first == (
        "to pass a threshold of 50.0% where 99.0% are right under attack, by the 95 % interval: 4 images, with "
        "probability 0.96 (with 3: 0.00)"
    )
    assert cost.startswith("4 images by the suite adaptive: at most about ")
    assert list(tmp_path.iterdir()) == []
    # One image that stands is enough for 10 %, but 3 must be right to be better than chance: 2 * 3 * ln 2 = 4.2.
    _, printed, _ = run("--plan", "--min-robust-accuracy", "0.1", "--expect", "0.99")
    assert "by the 95 % interval: 3 images, with probability 1.00" in printed
    code, printed, _ = run("--plan", "--suite", "quick", "--min-robust-accuracy", "0.5", "--expect", "0.4")
    assert printed.splitlines()[0].startswith("to fail a threshold of 50.0% where 40.0% are right")
    assert "the data has only 36 images" in printed
    assert "the suite quick is weak: none passes by it; --suite adaptive, or --accept-weak" in printed
    code, printed, _ = run("--plan", "--tolerance", "20", "--expect", "0.5", "--apart", "0.1")
    assert printed.startswith(
        "to show a loss of at most 20 points where both models are right on 50.0% under attack, and "
    )


def test_a_plan_without_a_question_says_how_long_so_many_take(run: Run) -> None:
    code, printed, _ = run("--plan", "--samples", "1000", "--threat", "jpeg", "--workers", "2")
    assert code == 0
    cost, together, available = printed.splitlines()
    assert re.fullmatch(
        r"1,000 images by the suite \w+ and 1 threat: at most about [\d:]+ here, less where images fall early", cost
    )
    assert re.fullmatch(r"2 workers as fast: [\d:]+", together)
    assert available == "the data has only 36 images"


@pytest.mark.parametrize(
    ("images", "workers", "share"),
    [
        (25, 2, 1),
        (30, 2, 25 / 30),
        (50, 2, 1 / 2),
        (60, 2, 50 / 60),
        (1000, 4, 1 / 4),
        (1001, 4, 275 / 1001),
        (10, 99, 1),
    ],
)
def test_workers_share_shards_and_not_images(images: int, workers: int, share: float) -> None:
    assert shared(60, images, workers) == pytest.approx(60 * share)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--workers", "2"], "workers goes with --plan only"),
        (["--plan", "--samples", "9", "--workers", "0"], "workers must be at least 1; got 0"),
        (["--expect", "0.5"], "expect goes with --plan only"),
        (["--plan", "--min-robust-accuracy", "0.5"], "expect must be given for a plan"),
        (["--plan", "--expect", "0.5"], "min-robust-accuracy or tolerance must be given for a plan"),
        (["--plan", "--expect", "0.5", "--min-robust-accuracy", "0.5"], "expect must differ from min-robust-accuracy"),
        (["--plan", "--expect", "50", "--tolerance", "5"], "expect must be from 0 to 1; got 50"),
        (["--plan", "--expect", "0.5", "--tolerance", "0"], "tolerance must be above 0, and at most 100"),
        (["--plan", "--expect", "0.9", "--tolerance", "5", "--apart", "0.3"], "apart must be at most 0.2 for an"),
    ],
)
def test_a_plan_that_says_too_little_is_refused(run: Run, arguments: list[str], reason: str) -> None:
    code, out, (error,) = run(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith(f"f2at audit: {reason}")


def test_an_audit_without_an_output_is_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["audit", str(bundle)])
    assert left.value.code == 2
    assert "the following arguments are required: --output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--eps", "0"], "eps must be > 0 and finite; got 0"),
        (["--eps", "1.5"], "eps must be at most 1 for linf (images lie in [0, 1]); got 3/2"),
        (["--samples", "37"], "samples must be at most 36, all there are; got 37"),
        (["--suite", "all"], f"suite must be one of {', '.join((*SUITES, 'custom'))}; got 'all'"),
        (["--threads", "-1"], "threads must be 0 (every core) or a positive number; got -1"),
        (["--suite", "quick", "--attack", "pgd"], "suite must be left out where attacks are given; got quick"),
        (["--attack", "pgd:steps"], "attack must be NAME[:parameter=value,...], each parameter once; got 'pgd:steps'"),
        (
            ["--attack", "pgd:steps=1,steps=2"],
            "attack must be NAME[:parameter=value,...], each parameter once; got 'pgd:steps=1,steps=2'",
        ),
        (["--attack", "pgd:steps=few"], "pgd: steps must be an integer of at least 1; got 'few'"),
        (["--surrogate", "nowhere"], "nowhere: there is no such folder; a bundle is a folder that `f2at export` wrote"),
        (["--data", "pyproject.toml"], "data must be a folder with one folder of images for each class, an .npz file"),
        (["--data", "nowhere.npz"], "nowhere.npz: No such file or directory"),
    ],
)
def test_bad_input_is_one_line(run: Run, tmp_path: Path, arguments: list[str], reason: str) -> None:
    code, out, (error,) = run(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith(f"f2at audit: {reason}")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, (error,) = run(source=tmp_path)
    assert code == 2
    assert "is no bundle" in error


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["audit", "--help"])
    assert left.value.code == 0
    assert "3 the threshold is not met" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("fgsm", {"name": "fgsm"}),
        ("pgd:steps=50,step_size=2/255", {"name": "pgd", "steps": 50, "step_size": 2 / 255}),
        (
            "pgd:start=none,restarts=2,as=pgd-2",
            {"name": "pgd", "start": "none", "restarts": 2, "as": "pgd-2"},
        ),
        ("apgd-ce:rho=0.5,momentum=1e-1", {"name": "apgd-ce", "rho": 0.5, "momentum": 0.1}),
        ("pgd:stop_at_success=false,step_size=null", {"name": "pgd", "stop_at_success": False, "step_size": None}),
    ],
)
def test_attacks_are_read_from_text(text: str, entry: dict[str, object]) -> None:
    assert parse_attack(text) == entry


def test_attacks_given_one_by_one(run: Run, tmp_path: Path) -> None:
    code, out, errors = run("--attack", "pgd:steps=3,as=short", "--attack", "pgd:steps=7", "--eps", "8/255")
    assert (code, errors) == (0, [])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["request"]["suite"] == "custom"
    assert [(a["name"], a["parameters"]["steps"]) for a in report["attacks"]] == [("short", 3), ("pgd", 7)]
    assert "short" in out


def test_other_images_for_a_bundle(run: Run, tmp_path: Path) -> None:
    data = save_images(tmp_path / "images.npz", [20] * 6)
    assert run("--attack", "fgsm", "--eps", "8/255", "--data", str(data))[0] == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["data"]["n"], report["robust"]["k"]) == (6, 6)


def test_a_folder_of_pictures_is_matched_with_the_classes_of_a_bundle(run: Run, tmp_path: Path) -> None:
    """Of several sizes, beside a file that is no picture."""
    images, labels = grey_images([3, 20] * 3)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photos" / ("light", "dark")[1 - label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(png(np.repeat(pixels, 1 + number, axis=1)))
    (tmp_path / "photos" / "light" / "notes.txt").touch()
    data = ("--data", str(tmp_path / "photos"), "--attack", "fgsm", "--eps", "8/255")
    code, _, (note,) = run(*data)
    assert code == 0
    assert note.endswith("photos/light has files that are no images of a kind read here: left out 1 of .txt")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["clean"]["n"]) == (6, 6)
    assert report["robust"]["k"] == 3
    (tmp_path / "photos" / "light").rename(tmp_path / "photos" / "sunny")
    _, _, (_, error) = run(*data, "--overwrite")
    assert error == "f2at audit: data has classes that the model has not: sunny; the model's classes are dark, light"


FLOATS = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))


def test_any_onnx_file_by_its_gradients(run: Run, normalised: Path, tmp_path: Path) -> None:
    data = save_images(tmp_path / "images.npz", DISTANCES)
    names = tmp_path / "names.txt"
    names.write_text("dark\nlight\n", encoding="utf-8-sig")  # as some editors write it
    code, out, errors = run(
        *("--data", str(data), *FLOATS, "--classes", str(names), "--eps", "8/255"), source=normalised
    )
    assert (code, errors) == (0, [])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["robust"]["k"]) == (36, 12)
    assert "white-box" in report["threat_model"]["knowledge"]
    assert report["model"]["classes"] == ["dark", "light"]
    assert report["model"]["preprocessing"] == {
        "dtype": "float32",
        "size": [SIDE, SIDE],
        "layout": "NCHW",
        "channels": "rgb",
        "mean": list(MEAN),
        "std": list(STD),
        "scale": 1.0,
        "logits": "as it is",
    }
    assert report["model"]["digest"] == f"sha256:{sha256(normalised.read_bytes()).hexdigest()}"
    assert report["model"]["digest"] in out
    nearest = {d["index"]: d["levels"] for d in report["curve"]["minimal_perturbations"]}
    assert nearest == {index: DISTANCES[index] for index in nearest}
    assert len(nearest) == 18  # every other one is followed


def test_any_onnx_file_by_its_answers(run: Run, normalised: Path, tmp_path: Path) -> None:
    """RayS tries all pixels up and all down, so it finds every error: distances 1 to 8 of 12 fall."""
    data = save_images(tmp_path / "images.npz", DISTANCES)
    code, _, errors = run(
        *("--data", str(data), *FLOATS, "--black-box", "--attack", "rays:queries=300", "--eps", "8/255"),
        source=normalised,
    )
    assert (code, errors) == (0, [])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["robust"]["k"]) == (36, 12)
    assert report["threat_model"]["knowledge"] == ["black-box"]


def test_an_onnx_file_of_uint8_pixels_needs_no_options(run: Run, bundle: Path, tmp_path: Path) -> None:
    data = save_images(tmp_path / "images.npz", [2, 20])
    assert run("--data", str(data), "--eps", "8/255", source=bundle / "classifier.onnx")[0] == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["robust"]["k"]) == (2, 1)
    assert report["model"]["classes"] == ["0", "1"]


def test_an_onnx_file_without_names_takes_those_of_the_pictures(run: Run, normalised: Path, tmp_path: Path) -> None:
    model = onnx.load(normalised)
    for axis in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.ClearField("dim_value")
    path = tmp_path / "any.onnx"
    onnx.save(model, path)
    images, labels = grey_images([2, 20, 20, 2])
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photos" / ("a night", "day")[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(png(pixels))
    data = ("--data", str(tmp_path / "photos"), *FLOATS, "--attack", "fgsm", "--eps", "8/255")
    _, _, (error,) = run(*data, source=path)
    assert "size must be given, (H, W), for an input (any, 3, any, any)" in error
    code, _, (note,) = run(*data, "--size", f"{SIDE},{SIDE}", source=path)
    assert code == 0
    assert "taken for a night, day, in this order" in note
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["robust"]["k"]) == (4, 2)
    assert report["model"]["classes"] == ["a night", "day"]


def test_an_operation_without_a_gradient_is_named(run: Run, normalised: Path, tmp_path: Path) -> None:
    """Det has none here; it is multiplied by 0, so that the model's answers stay what they are."""
    model = onnx.load(normalised)
    square = numpy_helper.from_array(np.array([-1, 1, 2, 2]), "square")
    corner = [numpy_helper.from_array(np.array(value), name) for name, value in (("b", [0, 0]), ("e", [2, 2]))]
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    for tensor, name in zip([square, *corner, axes], ["square", "begin", "end", "axes"], strict=True):
        tensor.name = name
        model.graph.initializer.append(tensor)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    model.graph.node.extend(
        [
            helper.make_node("Slice", ["x", "begin", "end", "axes"], ["corner"]),
            helper.make_node("Det", ["corner"], ["determinants"]),
            helper.make_node("ReduceSum", ["determinants"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
            helper.make_node("Add", ["logits", "zero"], ["last"]),
        ]
    )
    model.graph.output[0].name = "last"
    path = tmp_path / "det.onnx"
    onnx.save(model, path)
    data = ("--data", str(save_images(tmp_path / "images.npz", [2, 20])), *FLOATS)
    code, _, (error,) = run(*data, source=path)
    assert code == 2
    assert error == (
        f"f2at audit: {path} has operations without a gradient here: ai.onnx.Det; black-box attacks need none "
        "(--black-box)"
    )
    assert run(*data, "--black-box", "--attack", "rays:queries=200", source=path)[0] == 0


def test_the_documentation_s_audits_of_an_onnx_file_run_as_they_are_printed(
    bundle: Path, normalised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(normalised, "model.onnx")
    shutil.copytree(bundle, "bundles/digits")
    save_images(Path("images.npz"), [1, 2, 1])
    printed = commands("audit", page="docs/audits.md", title="Any ONNX file")
    for arguments in printed:
        assert main([*arguments, "--quiet"]) == 0
    names = ("report", "black-box", "transfer")
    report, black_box, transfer = (json.loads(Path(f"{name}.json").read_text()) for name in names)
    assert (report["request"]["suite"], report["robust"]["k"]) == ("quick", 0)
    assert (black_box["request"]["suite"], black_box["robust"]["k"]) == ("black-box", 0)
    assert (transfer["request"]["suite"], transfer["robust"]["k"]) == ("transfer", 0)
    assert transfer["surrogate"]["digest"] == json.loads((bundle / "manifest.json").read_text())["digest"]
    assert {attack["on"] for attack in transfer["attacks"]} == {"surrogate"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{bundle}", "--mean", "0.5"], "mean goes with an ONNX file only; a bundle knows its own"),
        (["{model}"], "data must be given for an ONNX file: a folder with one folder of images for each class"),
        (["{data}", "--data", "{data}"], "{data} is no ONNX model: "),
        (["{model}", "--data", "{data}", "--suite", "quick", "--black-box"], "suite must be one without white-box"),
        (
            ["{model}", "--data", "{data}", "--suite", "transfer"],
            "surrogate must be given for suite 'transfer'",
        ),
        (["{model}", "--data", "{data}", "--classes", "a,b,c"], "classes must be 2 names"),
        (["{model}", "--data", "{data}", "--layout", "NHWC"], "layout must"),
        (["{model}", "--data", "{large}"], "size must"),
        (["{bundle}", "--data", "{large}"], "data must be images of 4 x 4 for this model; got 5 x 5"),
        (
            ["{bundle}", "--data", "{floats}"],
            "data images must be uint8 (N, H, W, 3); got float32 (2, 5, 5, 3) in {floats}",
        ),
        (
            ["{model}", "--data", "{data}", "--classes", "light,dark", "--surrogate", "{bundle}"],
            "surrogate must have the classes of the model, in the same order",
        ),
    ],
)
def test_models_and_data_that_do_not_fit_are_refused_in_one_line(
    run: Run, bundle: Path, normalised: Path, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    paths = {"bundle": bundle, "model": normalised, "data": save_images(tmp_path / "images.npz", [1, 2])}
    for name, dtype in (("large", np.uint8), ("floats", np.float32)):
        paths[name] = tmp_path / f"{name}.npz"
        np.savez(paths[name], images=np.zeros((2, 5, 5, 3), dtype), labels=np.zeros(2, np.int64))
    code, out, (error,) = run(*(argument.format(**paths) for argument in arguments), source=None)
    assert (code, out) == (2, "")
    assert error.startswith(f"f2at audit: {reason.format(**paths)}")


def test_compare_prints_and_gates(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """36 images, each distance from 1 to 12 three times: 12 stand at eps 8, and with nothing to beat them all."""
    assert run("--attack", "fgsm", "--eps", "8/255")[0] == 0
    baseline, candidate = tmp_path / "baseline.json", tmp_path / "candidate.json"
    report = json.loads((tmp_path / "report.json").read_text())
    baseline.write_text(json.dumps(report))
    fallen = next(sample for sample in report["samples"] if sample["broken_by"])
    how = {key: value for key, value in fallen.items() if key == "broken_by" or key.startswith("adversarial")}
    for sample in report["samples"][:10]:
        sample.update(how)
    report["robust"] = proportion(sum(sample["broken_by"] is None for sample in report["samples"]), 36)
    lost = 12 - report["robust"]["k"]
    assert 0 < lost < 12
    candidate.write_text(json.dumps(report))

    def compared(*arguments: str) -> tuple[int, str]:
        code = main(["compare", str(baseline), str(candidate), *arguments])
        return code, capsys.readouterr().out

    code, text = compared()
    assert code == (3 if lost > 5 else 0)
    assert f"{lost} / 0" in text
    assert "the same model" in text
    assert len(text.splitlines()) < 20
    assert compared("--tolerance", "90")[0] == 0
    code, made = compared("--tolerance", "10", "--format", "json")
    assert (code, json.loads(made)["gate"]["outcome"]) == (4, "inconclusive")
    assert json.loads(made)["robust"]["only_baseline"] == lost


def test_the_documentation_s_comparisons_run_as_they_are_printed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--attack", "fgsm", "--eps", "8/255")[0] == 0
    for name in ("deployed.json", "candidate.json"):
        (tmp_path / name).write_bytes((tmp_path / "report.json").read_bytes())
    monkeypatch.chdir(tmp_path)
    plain, strict, clean = commands("compare", page="docs/audits.md", title="Compare two audits")
    assert main(plain) == 0
    assert capsys.readouterr().out.endswith("gate (not worse beyond chance): pass\n")
    assert main(strict) == 4  # 36 images prove nothing to 3 points
    assert json.loads(capsys.readouterr().out)["gate"] == {
        "fail_on": "any",
        "tolerance": 3,
        "tolerance_clean": 3,
        "tolerance_robust": 3,
        "threats": [],
        "outcome": "inconclusive",
    }
    assert main(clean) == 4
    rule = "gate (clean at most 5 points worse, by the interval, robust not worse beyond chance): inconclusive"
    assert rule in capsys.readouterr().out


def test_the_documentation_s_plans_run_as_they_are_printed(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle, tmp_path / "bundles/digits")
    monkeypatch.chdir(tmp_path)
    *deciding, last = commands("audit", page="docs/audits.md", title="How many images?")
    for arguments in deciding:
        assert main(arguments) == 0
        assert " images, with probability 0.9" in capsys.readouterr().out
    assert main(last) == 0
    assert "\n8 workers as fast: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.json", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["pyproject.toml", "pyproject.toml"], "pyproject.toml is not JSON; give a report written by"),
    ],
)
def test_compare_refuses_in_one_line(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"f2at compare: {reason}")


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == report_schema()


def test_list_names_what_a_request_may_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    for name, suite in SUITES.items():
        assert f"{name}: {suite.title}" in printed
    for name, attack in ATTACKS.items():
        assert f"{name}: {attack.title}, {attack.paper}" in printed
    # What stands below a suite can be given to --attack, and is the same attack.
    for name, suite in SUITES.items():
        start = printed.index(f"{name}: {suite.title}") + 1
        assert printed[start] == f"  {suite.strength}: {suite.claims}"
        for line, attack in zip(printed[start + 1 : start + 1 + len(suite.attacks)], suite.attacks, strict=True):
            entry = parse_attack(line.split()[0])
            parameters = {key: value for key, value in entry.items() if key not in ("name", "as")}
            assert ATTACKS[entry["name"]].override(**parameters).parameters == attack.parameters
            assert entry.get("as", entry["name"]) == attack.name
