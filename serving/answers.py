"""What the service answers, as types: for the server that writes them and for the client that reads them."""

from typing import Any

from pydantic import BaseModel, Field


class Patterns(BaseModel):
    """The two patterns of an image, and what the model says about the natural one.

    They are of the image as the model got it, resized. Disagreement is a hint and no defence: about half of
    the attacks that succeed, or more, leave both labels alike (benchmarks/results/pattern_check.md).
    """

    planes: int = Field(
        description="K: the natural pattern keeps the upper K of 8 bit-planes, the perturbed one the rest"
    )
    label: str = Field(description="name of the most probable class of the natural pattern")
    index: int = Field(description="its position in the classes of the model")
    margin: float = Field(description="largest logit of the natural pattern minus the second largest")
    agrees: bool = Field(description="whether that is the class of the whole image, too")
    natural: str = Field(description="the natural pattern, as a data: URL of a PNG file")
    perturbed: str = Field(description="the perturbed pattern, as a data: URL of a PNG file; its pixels are dark")


class Prediction(BaseModel):
    """What the model says about one image."""

    label: str = Field(description="name of the most probable class")
    index: int = Field(description="its position in the classes of the model")
    probabilities: dict[str, float] = Field(description="softmax of the logits, by class name")
    margin: float = Field(description="largest logit minus the second largest: 0 is undecided")
    model: str = Field(description="digest of the model that answered")
    patterns: Patterns | None = Field(default=None, description="bit-plane patterns, where the query asks for `planes`")


class Predictions(BaseModel):
    """Answers in the order of the images."""

    predictions: list[Prediction]
    model: str = Field(description="digest of the model that answered")


class Stage(BaseModel):
    """How far an audit is with one of its stages: no attack, each attack, the curve."""

    stage: str = Field(description='"clean", the name of an attack, or "curve"')
    shards: int = Field(description="parts of the images that are through; 0 where it has not begun")
    total: int = Field(description="parts there are")
    samples: int = Field(description="images in those that are through")
    robust: int = Field(description="of these, how many still get the right label")


class Progress(BaseModel):
    """How far an audit is."""

    done: int = Field(description="steps that are finished")
    total: int = Field(description="steps in all")
    stages: list[Stage]


class Audit(BaseModel):
    """An audit: what was asked, and how it stands."""

    id: str
    state: str = Field(description="queued, running, done, failed or cancelled")
    model: str = Field(description="digest of the model that is audited")
    by: str | None = Field(default=None, description="name of the API key that asked for it")
    request: dict[str, Any] = Field(description="the request in full, defaults included")
    created: float = Field(description="seconds since 1970, as all times here")
    started: float | None = None
    finished: float | None = None
    progress: Progress | None = None
    error: str | None = Field(default=None, description="why it failed")
    detail: str | None = Field(default=None, description="why it waits, if not for its turn")

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        return self.state in ("done", "failed", "cancelled")
