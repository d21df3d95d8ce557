"""A manifest names what a training read, and does not say where that was."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from f2at.bundle.places import PLACES, without_places
from f2at.training.configuration.options import Config
from f2at.training.methods import METHODS

RECIPE = {
    "seed": 0,
    "data": {"name": "folder", "root": "/home/somebody/secret project/photos/", "size": 32},
    "model": {"name": "timm/resnet18", "weights": "C:\\Users\\somebody\\best.safetensors"},
    "method": {"name": "f2at", "critic": "../runs/critic.safetensors"},
    "attack": {"eps": "8/255"},
}


def test_names_are_kept_and_places_are_not() -> None:
    manifest = {"recipe": RECIPE, "dataset": "photos"}
    assert without_places(manifest) == {
        "recipe": {
            **RECIPE,
            "data": {"name": "folder", "root": "photos", "size": 32},
            "model": {"name": "timm/resnet18", "weights": "best.safetensors"},
            "method": {"name": "f2at", "critic": "critic.safetensors"},
        },
        "dataset": "photos",
    }
    assert RECIPE["data"]["root"].startswith("/home")  # type: ignore[index]


@pytest.mark.parametrize(
    "manifest",
    [
        {"classes": ["a", "b"]},
        {"recipe": "by heart"},
        {"recipe": {"method": "f2at", "data": {"root": None}, "model": {"weights": "pretrained"}}},
    ],
)
def test_what_says_no_place_stays_as_it_is(manifest: dict[str, Any]) -> None:
    assert without_places(manifest) == manifest


def test_every_option_of_a_training_that_says_a_place_is_known() -> None:
    said = {
        (section, name)
        for section, name, kind, text in _options()
        if "str" in kind and ("folder" in text or "file" in text)
    }
    assert said - {("data", "name")} == set(PLACES)  # that one has a value called folder


def _options() -> Iterator[tuple[str, str, str, str]]:
    """Section, name, type and description of every option."""
    config = Config()
    sections = [(f.name, getattr(config, f.name)) for f in fields(config) if is_dataclass(getattr(config, f.name))]
    for section, kind in [
        *((name, type(value)) for name, value in sections),
        *(("method", m) for m in METHODS.values()),
    ]:
        for option in fields(kind):
            yield section, option.name, str(option.type), str(option.metadata.get("help", option.metadata))
