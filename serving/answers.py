"""The service's answers as types, shared by the server that writes them and the client that reads them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field


class Patterns(BaseModel):
    """The two patterns of an image, and what the model says about the natural one.

    They are taken from the image as the model sees it, resized. Disagreement is a hint, not a defence: about half of
    the successful attacks, or more, leave both labels equal (benchmarks/results/pattern_check.md).
    """

    planes: int = Field(
        description="K: the natural pattern keeps the upper K of 8 bit-planes, the perturbed one the rest"
    )
    label: str = Field(description="name of the most probable class of the natural pattern")
    index: int = Field(description="its position in the classes of the model")
    margin: float = Field(description="largest logit of the natural pattern minus the second largest")
    agrees: bool = Field(description="whether the whole image gets the same class")
    natural: str = Field(description="the natural pattern, as a data: URL of a PNG file")
    perturbed: str = Field(description="the perturbed pattern, as a data: URL of a PNG file; its pixels are dark")


class Prediction(BaseModel):
    """What the model says about one image."""

    label: str = Field(description="name of the most probable class")
    index: int = Field(description="its position in the classes of the model")
    probabilities: dict[str, float] = Field(description="softmax of the logits, by class name")
    margin: float = Field(description="largest logit minus the second largest: 0 is undecided")
    model: str = Field(description="digest of the model that answered")
    patterns: Patterns | None = Field(default=None, description="bit-plane patterns, if the query has `planes`")


class Predictions(BaseModel):
    """Answers in the order of the images."""

    predictions: list[Prediction]
    model: str = Field(description="digest of the model that answered")


class Sample(BaseModel):
    """One of the model's reference images."""

    place: int = Field(description="its place among the reference images")
    label: str = Field(description="name of its class")
    index: int = Field(description="position of that in the classes of the model")
    image: str = Field(description="a data: URL of a PNG file")


class Samples(BaseModel):
    """A few reference images, of different classes where there are."""

    samples: list[Sample]
    model: str = Field(description="digest of the model whose they are")


class Estimate(BaseModel):
    """What an audit would take."""

    most_evaluations: int = Field(
        description="the most evaluations of the model, forward and gradient, that the attacks take"
    )
    most_seconds: float | None = Field(
        description="about the most seconds that one worker takes, by the pace of the newest audit of the same model "
        "here; null: none has run yet. Time in the queue is not in it"
    )
    model: str = Field(description="digest of the model that would be audited")


class Stage(BaseModel):
    """Progress of one stage of an audit: no attack, each attack, the curve."""

    stage: str = Field(description='"clean", the name of an attack, or "curve"')
    shards: int = Field(description="shards of the images that are finished; 0 before the stage starts")
    total: int = Field(description="shards in all")
    samples: int = Field(description="images in the finished shards")
    robust: int = Field(description="how many of these still get the right label")


class Progress(BaseModel):
    """Progress of an audit."""

    done: int = Field(description="finished steps")
    total: int = Field(description="steps in all")
    share: float | None = Field(default=None, description="how much of the work is done, from 0 to 1, within steps too")
    seconds_left: float | None = Field(default=None, description="about how long its present workers still need")
    accuracy: str | None = Field(
        default=None,
        description='what accuracy under these attacks is called: "robust accuracy" where they follow the gradients of '
        'the model, and otherwise such as "accuracy under black-box attacks"',
    )
    stages: list[Stage]


class Audit(BaseModel):
    """An audit: its request and its current state."""

    id: str
    state: str = Field(description="queued, running, done, failed or cancelled")
    model: str = Field(description="digest of the model that is audited")
    by: str | None = Field(default=None, description="name of the API key that requested it")
    request: dict[str, Any] = Field(description="the request in full, defaults included")
    data: str | None = Field(default=None, description="where its images lie; null: the model's reference images")
    created: float = Field(description="seconds since 1970, like all times here")
    started: float | None = None
    finished: float | None = None
    progress: Progress | None = None
    error: str | None = Field(default=None, description="why it failed")
    detail: str | None = Field(default=None, description="why it waits, if for more than its turn")

    @property
    def over(self) -> bool:
        """Whether it has ended and will not change again."""
        return self.state in ("done", "failed", "cancelled")


def audit_path(audit: Mapping[str, Any]) -> str:
    """Where an audit is found."""
    return f"/audits/{audit['id']}"


def linked(audit: Mapping[str, Any]) -> dict[str, Any]:
    """An audit with the paths of what else there is of it."""
    path = audit_path(audit)
    links = {"self": path, "events": f"{path}/events"}
    if audit["state"] == "done":
        links |= {"report": f"{path}/report", "report_html": f"{path}/report.html"}
    return {**audit, "links": links}
