"""Model cards, read by huggingface_hub."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from markdown_it import MarkdownIt

from f2at.__main__ import main
from f2at.audit.reports.files import read_report
from tests.evidence.grey import grey_report

ZOO = Path(__file__).parents[2] / "zoo" / "cifar10-small"


def test_the_card_of_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "cards" / "README.md"
    options = ["--license", "apache-2.0", "--dataset", "uoft-cs/cifar10", "--dataset-name", "CIFAR-10 (JPEG)"]
    assert main(["card", str(ZOO / "audit.json"), "--bundle", str(ZOO), *options, "--output", str(path)]) == 0

    card, report = ModelCard.load(path), read_report(ZOO / "audit.json")
    data: Any = card.data
    assert (data.license, data.pipeline_tag) == ("apache-2.0", "image-classification")
    assert data.datasets == ["uoft-cs/cifar10"]
    clean, robust = data.eval_results
    assert (clean.metric_type, clean.metric_value) == ("accuracy", 0.675)
    assert (robust.metric_type, robust.metric_value) == ("accuracy_under_attack", 0.385)
    assert robust.metric_name == "Accuracy under attack (linf, eps 8/255, suite adaptive)"
    assert (robust.metric_args["eps"], robust.metric_args["low"]) == ("8/255", report["robust"]["low"])
    assert {(r.task_type, r.dataset_type, r.dataset_name) for r in (clean, robust)} == {
        ("image-classification", "uoft-cs/cifar10", "CIFAR-10 (JPEG)")
    }
    index = (metadata_load(path) or {})["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "cifar10-small"
    assert eval_results_to_model_index(name, results) == index
    again = tmp_path / "again.md"
    card.save(again)
    assert again.read_text() == path.read_text()

    html = MarkdownIt("commonmark").enable("table").render(card.text)
    for said in (
        "<td>385 of 1000</td>\n<td>38.5 %</td>\n<td>35.5 % to 41.6 %</td>",
        "<td>Method</td>\n<td>sat</td>",
        "<td>Architecture</td>\n<td>name: resnet18, width: 16</td>",
        "airplane, automobile,",
        report["model"]["digest"],
        "f2at serve cifar10",
        "it still gets 385 right",
    ):
        assert said in html
    assert all(limit[:60] in html for limit in report["limitations"])


def test_the_card_of_anything_else_names_its_data_by_their_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = grey_report(tmp_path / "report.json", min_robust_accuracy=0.9)
    assert main(["card", str(tmp_path / "report.json"), "--name", "grey"]) == 0
    card = ModelCard(capsys.readouterr().out)
    data: Any = card.data
    assert data.model_name == "grey"
    assert [result.metric_value for result in data.eval_results] == [1.0, 12 / 36]
    assert data.eval_results[0].dataset_name == f"labelled images {report['data']['sha256'][:12]}"
    assert data.eval_results[0].dataset_args == {"sha256": report["data"]["sha256"], "images": 36}
    assert "is below the threshold of 90.0 %, stated before the run" in card.text


def test_what_does_not_belong_together_or_is_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey_report(tmp_path / "report.json")
    (tmp_path / "README.md").write_text("mine")
    arguments = ["card", str(tmp_path / "report.json")]
    assert main([*arguments, "--bundle", str(ZOO)]) == 2
    assert "f2at card: bundle must be the audited one, None; got sha256:" in capsys.readouterr().err
    assert main([*arguments, "--output", str(tmp_path / "README.md")]) == 2
    assert "README.md exists; give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "mine"
