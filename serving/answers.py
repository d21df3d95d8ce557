"""What the service answers, as types: for the server that writes them and for the client that reads them."""

from pydantic import BaseModel, Field


class Patterns(BaseModel):
    """The two patterns of an image, and what the model says about the natural one.

    They are of the image as the model got it, resized. Disagreement is a hint and no defence: an attacker who knows of
    it makes both labels wrong alike (benchmarks/results/pattern_check.md).
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
