"""What a request may name as its data: what lies in a place of the operator's, and says so plainly."""

import pytest

from f2at.arguments import ArgumentError
from f2at.serving.jobs.places import permits, read_data, split_places
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings

PLACES = ("s3://sets/open", "/mnt/sets")


def test_places_are_paths_and_urls() -> None:
    assert split_places("s3://sets/open/, /mnt/sets,gs://bucket") == (*PLACES, "gs://bucket")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sets",
        "../sets",
        "/mnt/../etc",
        "/",
        "s3://",
        "s3://key:secret@sets",
        "file://mnt/x",
        "FILE://x",
        "S3://sets",
        "://x",
        "s3://a,,s3://b",
        "zip://x::s3://a",
    ],
)
def test_other_places_are_refused_by_the_setting(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is the place)
        split_places(text)
    if text:
        with pytest.raises(ArgumentError, match="F2AT_DATA must be absolute paths of folders and URLs of stores"):
            Settings(data=text)


@pytest.mark.parametrize("location", ["s3://sets/open", "s3://sets/open/flowers", "/mnt/sets/a b/é", "/mnt/sets/x/"])
def test_what_lies_in_them_may_be_named(location: str) -> None:
    assert read_data(location, PLACES) == location.rstrip("/")


@pytest.mark.parametrize(
    "location",
    [
        *("s3://sets", "s3://sets/opened", "s3://sets/open/../closed", "s3://sets/open/./x", "s3://sets/open//x"),
        *("/mnt", "/mnt/sets/..", "/mnt/sets/../../etc", "/mnt/sets/x/../../y", "mnt/sets", "/etc"),
        *("s3://sets/open/x?versionId=1", "s3://sets/open/%2e%2e/x", "s3://sets/open/x#y", "/mnt/sets/\\..\\x"),
        *("simplecache::s3://sets/open/x", "s3://sets/open/x::file:///etc", "/mnt/sets/a\nb", "S3://sets/open/x"),
        *("", "/mnt/sets/" + 1000 * "x"),
    ],
)
def test_nothing_else_may_be(location: str) -> None:
    assert not permits(PLACES, location)
    with pytest.raises(Problem) as refused:
        read_data(location, PLACES)
    assert (refused.value.status, refused.value.body["argument"]) == (422, "data")
    assert refused.value.body["accepted"] == "a folder of images in s3://sets/open, /mnt/sets"


@pytest.mark.parametrize("value", [1, ["/mnt/sets"], {}, False])
def test_it_is_text(value: object) -> None:
    with pytest.raises(Problem, match="data must be a folder of images in s3://sets/open"):
        read_data(value, PLACES)


def test_without_places_there_is_only_the_models_own() -> None:
    assert read_data(None, ()) is None
    with pytest.raises(Problem, match="F2AT_DATA says where it may lie, and is not set"):
        read_data("/mnt/sets", ())
