"""What answers say, in the forms that servers give them."""

import json
import math
from typing import Any

import numpy as np
import pytest

from f2at.audit.endpoint.address import EndpointError
from f2at.audit.endpoint.answers import Reading, find_reading, read_answer

CLASSES = ("cat", "dog", "owl")
NAMED = {"cat": 0.25, "dog": 0.75, "owl": 0.0}


@pytest.mark.parametrize(
    "value",
    [
        NAMED,
        {"probabilities": NAMED, "label": "dog", "index": 1, "margin": 2.0},
        {"predictions": [NAMED]},
        [{"label": name, "score": p} for name, p in NAMED.items()],
        {"result": [[{"label": name, "score": p} for name, p in NAMED.items()]]},
        {"output": {"scores": [{"class": name, "probability": p} for name, p in NAMED.items()]}},
    ],
)
def test_scores_by_name(value: Any) -> None:
    assert read_answer(value) == NAMED


@pytest.mark.parametrize(
    "value",
    [[0.25, 0.75, 0], [[0.25, 0.75, 0]], {"logits": [0.25, 0.75, 0], "label": "dog"}, {"anything": [0.25, 0.75, 0]}],
)
def test_rows(value: Any) -> None:
    np.testing.assert_array_equal(np.asarray(read_answer(value)), [0.25, 0.75, 0])


@pytest.mark.parametrize("value", ["dog", {"label": "dog"}, {"prediction": "dog"}, ["dog"], {"class": "dog", "id": 7}])
def test_labels(value: Any) -> None:
    assert read_answer(value) == "dog"


@pytest.mark.parametrize(
    "value", [None, True, {}, [], {"a": None}, [[1, 2], [3, 4]], {"label": True}, [{"label": "dog"}] * 2]
)
def test_what_is_no_answer_is_quoted(value: Any) -> None:
    with pytest.raises(EndpointError, match="holds neither scores nor a label"):
        read_answer(value)


@pytest.mark.parametrize(
    "text", ["[0.1, NaN, 1]", "[0.5, null, 0.5]", '{"cat": Infinity, "dog": 1}', '[{"label": "owl", "score": NaN}]']
)
def test_where_a_score_is_not_finite_no_logit_is(text: str) -> None:
    answer = read_answer(json.loads(text))
    for scores in ("logits", "probabilities"):
        assert np.isnan(Reading(scores, CLASSES).logits(answer)).all()
    with pytest.raises(EndpointError, match="must answer finite scores"):
        find_reading([answer], classes=CLASSES)
    assert find_reading([answer, NAMED], classes=CLASSES).scores == "probabilities"


def test_probabilities_become_logarithms_and_scores_stay() -> None:
    reading = find_reading([read_answer([0.25, 0.75, 0.0])], classes=None)
    assert (reading.scores, reading.classes) == ("probabilities", ("0", "1", "2"))
    found = reading.logits(read_answer([0.25, 0.75, 0.0]))
    np.testing.assert_allclose(found, [math.log(0.25), math.log(0.75), math.log(1e-30)], rtol=1e-6)
    for row in ([0.25, 0.25, 0.25], [2.0, -1.0, 0.0]):
        reading = find_reading([read_answer(row)], classes=CLASSES)
        assert reading.scores == "logits"
        np.testing.assert_array_equal(reading.logits(read_answer(row)), row)


def test_names_are_put_in_the_order_of_the_classes() -> None:
    reading = find_reading([NAMED], classes=("owl", "cat", "dog"))
    found = reading.logits({"dog": 0.5, "owl": 0.125, "cat": 0.375})
    np.testing.assert_allclose(np.exp(found), [0.125, 0.375, 0.5], rtol=1e-6)


@pytest.mark.parametrize("answer", [{"dog": 0.6, "owl": 0.3}, {"dog": 0.4}, {"owl": 0.9, "dog": 0.05}])
def test_what_is_left_out_comes_below_what_is_named(answer: dict[str, float]) -> None:
    reading = find_reading([answer], classes=CLASSES)
    assert (reading.scores, reading.partly) == ("probabilities", True)
    found = reading.logits(answer)
    for name, p in answer.items():
        assert found[CLASSES.index(name)] == pytest.approx(math.log(p))
    left_out = [found[place] for place, name in enumerate(CLASSES) if name not in answer]
    assert max(left_out) < min(math.log(p) for p in answer.values())


def test_of_labels_only_the_order_is_known() -> None:
    reading = find_reading(["dog", 2], classes=CLASSES)
    assert reading.describe() == "labels alone"
    assert [int(reading.logits(label).argmax()) for label in ("cat", "owl", 1)] == [0, 2, 1]


def test_one_number_is_two_classes() -> None:
    one = read_answer(0.25)
    with pytest.raises(ValueError, match="scores must be given"):
        find_reading([one], classes=None)
    found = find_reading([one], classes=("no", "yes"), scores="probabilities").logits(one)
    np.testing.assert_allclose(np.exp(found), [0.75, 0.25], rtol=1e-6)
    np.testing.assert_array_equal(find_reading([read_answer(-3.0)], classes=None).logits(one), [0, 0.25])


@pytest.mark.parametrize(
    ("answer", "arguments", "message"),
    [
        ("dog", {}, "classes must be given for an endpoint that answers by name.*it named dog"),
        (NAMED, {}, "it named cat, dog, owl"),
        ("dog", {"classes": CLASSES, "scores": "logits"}, "scores must be labels"),
        (np.array([1.0, 2, 3]), {"scores": "labels"}, "scores must be logits or probabilities"),
        (np.array([1.0, 2, 3]), {"scores": "odds"}, "scores must be one of logits, probabilities, labels"),
        (np.array([1.0, 2]), {"classes": CLASSES}, "must answer 3 scores, one for each class; got 2"),
        ("fox", {"classes": CLASSES}, "names 'fox', which is not one of the classes cat, dog, owl"),
        (3, {"classes": CLASSES}, "names 3, which is not one"),
    ],
)
def test_what_does_not_fit_is_said(answer: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_reading([answer], **{"classes": None, **arguments})


@pytest.mark.parametrize(
    ("scores", "answer", "message"),
    [
        ("probabilities", np.array([5.0, 1, 1]), "probabilities before, and something else now"),
        ("probabilities", "dog", "scores before, and a label alone now"),
        ("labels", np.array([5.0, 1, 1]), "labels alone before, and scores now"),
        ("logits", np.array([5.0, 1]), "must answer 3 scores"),
    ],
)
def test_an_endpoint_that_changes_its_mind_is_not_believed(scores: str, answer: Any, message: str) -> None:
    with pytest.raises(EndpointError, match=message):
        Reading(scores, CLASSES).logits(answer)
