"""Tensors of the Open Inference Protocol: what is written is what is read, and what is not accepted is named."""

import base64
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from f2at.serving.api.inference.tensors import Tensor, read_question, write_answer
from f2at.serving.problems import Problem


def body(*inputs: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **members}).encode()


PIXELS = {"name": "images", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [0, 1, 2, 253, 254, 255]}


@given(values=arrays(np.uint8, array_shapes(max_dims=4, max_side=4)), nested=st.booleans())
def test_pixels_are_read_from_json_flat_or_nested(values: Any, nested: bool) -> None:
    data = values.tolist() if nested else values.ravel().tolist()
    entry = {"name": "images", "datatype": "UINT8", "shape": list(values.shape), "data": data}
    found = read_question(body(entry), None).inputs["images"]
    assert found.datatype == "UINT8"
    np.testing.assert_array_equal(found.values, values)


@given(
    files=st.lists(st.binary(max_size=9), min_size=1, max_size=4),
    pixels=arrays(np.uint8, (2, 3)),
    spaces=st.integers(0, 3),
)
def test_binary_tensors_follow_in_the_order_of_the_inputs(files: list[bytes], pixels: Any, spaces: int) -> None:
    encoded = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    head = (
        body(
            {"name": "a", "datatype": "BYTES", "shape": [len(files)], "parameters": {"binary_data_size": len(encoded)}},
            {"name": "b", "datatype": "UINT8", "shape": [2, 3], "parameters": {"binary_data_size": 6}},
        )
        + b" " * spaces
    )
    found = read_question(head + encoded + pixels.tobytes(), str(len(head)))
    assert found.inputs["a"].values == files
    np.testing.assert_array_equal(found.inputs["b"].values, pixels)


def test_files_in_json_are_base64() -> None:
    entry = {"name": "encoded", "datatype": "BYTES", "shape": [2], "data": [base64.b64encode(b"\x89PNG").decode(), ""]}
    assert read_question(body(entry), None).inputs["encoded"].values == [b"\x89PNG", b""]


def test_what_is_wanted_is_read() -> None:
    asked = read_question(body(PIXELS, id="7"), None)
    assert (asked.identifier, asked.outputs, asked.binary) == ("7", None, False)
    wanted = [{"name": "label"}, {"name": "margin", "parameters": {"binary_data": True}}]
    asked = read_question(body(PIXELS, outputs=wanted, parameters={"binary_data_output": True}), None)
    assert (asked.outputs, asked.binary) == ({"label": None, "margin": True}, True)


def test_answers_are_json_and_the_bytes_that_were_asked_for() -> None:
    scores, labels = np.array([[0.25, 0.75]], np.float32), [b"seven", "é".encode()]
    outputs = [Tensor("scores", scores, (1, 2)), Tensor("label", labels, (2,))]
    text, length = write_answer({"id": "1"}, outputs, binary=frozenset())
    assert length is None
    assert json.loads(text) == {
        "id": "1",
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["seven", "é"]},
        ],
    }
    content, length = write_answer({}, outputs, binary=frozenset({"scores", "label"}))
    assert [entry["parameters"]["binary_data_size"] for entry in json.loads(content[:length])["outputs"]] == [8, 15]
    assert content[length:] == scores.tobytes() + b"\5\0\0\0seven" + b"\2\0\0\0" + "é".encode()


@pytest.mark.parametrize(
    ("content", "length", "message"),
    [
        (b"", None, "body must be JSON of 0 bytes"),
        (b"{", None, "body must be JSON of 1 bytes"),
        (b"[]", None, "body must be an object"),
        (b"{}", None, "inputs must be a list of tensors; got None"),
        (b'{"inputs": 5}', None, "inputs must be a list of tensors; got 5"),
        (b'{"inputs": [5]}', None, "inputs must be a list of tensors; got 5"),
        (b'{"inputs": [], "id": 5}', None, "id must be text of 1 to 128 characters; got 5"),
        (b'{"inputs": []}', "x", "Inference-Header-Content-Length must be a number of bytes; got 'x'"),
        (b'{"inputs": []}', "99", "Inference-Header-Content-Length must be at most 14"),
        (b'{"inputs": []}..', "14", "body must be no bytes beyond those of its tensors; got '2 more bytes'"),
        (body({**PIXELS, "name": 1}), None, "name of an input must be text of 1 to 128 characters; got 1"),
        (body(PIXELS, PIXELS), None, "inputs must be each input once; got 'images'"),
        (body({**PIXELS, "shape": [-1]}), None, "shape of 'images' must be at most 8 whole numbers from 1"),
        (body({**PIXELS, "shape": [True]}), None, "shape of 'images' must be at most 8 whole numbers"),
        (
            body({**PIXELS, "shape": [2]}),
            None,
            "data of 'images' must be 2 values, as its shape has it; got '6 values'",
        ),
        (body({**PIXELS, "datatype": "FP32"}), None, "datatype of 'images' must be UINT8 or BYTES; got 'FP32'"),
        (body({**PIXELS, "data": [0.5] * 6}), None, "data of 'images' must be whole numbers from 0 to 255; got '0.5'"),
        (body({**PIXELS, "data": [10**30] * 6}), None, "whole numbers from 0 to 255; got '1000"),
        (body({**PIXELS, "data": [256] * 6}), None, "whole numbers from 0 to 255; got 256"),
        (body({**PIXELS, "data": [True] * 6}), None, "whole numbers from 0 to 255; got True"),
        (body({**PIXELS, "data": [[1], 2, [3, [4]], 5]}), None, "whole numbers from 0 to 255; got"),
        (body({**PIXELS, "data": None}), None, "data of 'images' must be a list, or binary_data_size; got None"),
        (body({**PIXELS, "parameters": 1}), None, "parameters of 'images' must be an object; got 1"),
        (body({**PIXELS, "parameters": {"binary_data_size": 7}}), None, "given as a list or as bytes; got 'both'"),
        (body({**PIXELS, "parameters": {"binary_data_size": True}}), None, "given as a list or as bytes"),
        (body({**PIXELS, "datatype": "BYTES", "data": ["?"]}), None, r"must be base64 text; got '\?'"),
        (body({**PIXELS, "datatype": "BYTES", "data": [7]}), None, "must be base64 text; got 7"),
        (body({**PIXELS, "data": ["a" * 60_000, *[0] * 2000]}), None, "whole numbers from 0 to 255; got 'aaa"),
        (body({**PIXELS, "data": [[[[1]]], *[1] * 9]}), None, "whole numbers from 0 to 255; got"),
        (body({**PIXELS, "shape": [10**30]}), None, "shape of 'images' must be at most 8 whole numbers from 1 to"),
        (body({**PIXELS, "shape": [10**4000] * 8}), None, "got '.a number of more than 300 digits"),
        (body({**PIXELS, "shape": [0, 2**62]}), None, "whole numbers from 1 to 2147483647"),
        (body({**PIXELS, "name": "\ud800"}), None, "name of an input must be text"),
        (body({**PIXELS, "name": "n" * 2_000}), None, "name of an input must be text of 1 to 128 characters; got 'nnn"),
        (body({**PIXELS, "datatype": "\ud800"}), None, "must be UINT8 or BYTES; got"),
        (body(PIXELS, id="\ud800"), None, "id must be text"),
        (body({**PIXELS, "datatype": "BYTES", "shape": [1001]}), None, "must be of at most 1000 elements"),
        (b"{}", "1" * 5000, "Inference-Header-Content-Length must be a number of bytes; got '1111"),
        (body(PIXELS, outputs=5), None, "outputs must be a list of outputs; got 5"),
        (body(PIXELS, outputs=[{}]), None, "name of an output must be text of 1 to 128 characters; got None"),
        (
            body(PIXELS, outputs=[{"name": "label", "parameters": {"classification": 3}}]),
            None,
            "parameters of 'label' must be binary_data; got 'classification'",
        ),
        (body(PIXELS, parameters={"binary_data_output": 1}), None, "binary_data_output must be true or false; got 1"),
    ],
)
def test_what_is_not_accepted_is_named(content: bytes, length: str | None, message: str) -> None:
    with pytest.raises(Problem, match=message) as refused:
        read_question(content, length)
    assert refused.value.status == 400
    json.dumps(refused.value.body, allow_nan=False)


def test_no_more_json_is_read_than_memory_is_meant_for() -> None:
    pixels = np.zeros(5 << 20, np.uint8)
    entry = {
        "name": "images",
        "datatype": "UINT8",
        "shape": [pixels.size],
        "parameters": {"binary_data_size": pixels.size},
    }
    head = body(entry)
    assert read_question(head + pixels.tobytes(), str(len(head))).inputs["images"].shape == pixels.shape
    with pytest.raises(Problem, match=r"At most 4194304 bytes may be JSON; send larger tensors as bytes") as refused:
        read_question(b" " * (5 << 20), None)
    assert refused.value.status == 413


def test_sizes_of_bytes_are_checked() -> None:
    entry = {key: value for key, value in PIXELS.items() if key != "data"}
    for size, message in (
        (7, "from 0 to 0, the bytes that are left; got 7"),
        (-1, "from 0 to 0"),
        (True, "a number of bytes"),
    ):
        with pytest.raises(Problem, match=message):
            read_question(body({**entry, "parameters": {"binary_data_size": size}}), None)
    # Of 4 million empty elements, no more are read than the shape has.
    empty = bytes(16 << 20)
    head = body({"name": "a", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(empty)}})
    with pytest.raises(Problem, match="1 values, as its shape has it; got '2 values'"):
        read_question(head + empty, str(len(head)))


def test_no_output_named_means_all() -> None:
    assert read_question(body(PIXELS, outputs=[]), None).outputs is None


@pytest.mark.parametrize("part", [b"\1", b"\5\0\0\0abc", b"\0\0\0\0\1\0"])
def test_elements_without_their_lengths_are_refused(part: bytes) -> None:
    head = body({"name": "a", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(part)}})
    with pytest.raises(Problem, match="data of 'a' must be elements with their lengths, of 4 bytes, before them"):
        read_question(head + part, str(len(head)))


@given(content=st.binary(max_size=60), length=st.none() | st.integers(0, 70).map(str))
def test_no_body_makes_the_reader_fail(content: bytes, length: str | None) -> None:
    for candidate in (content, b'{"inputs": [{"name": "a", "datatype": "UINT8", "shape": [1], "data": [' + content):
        with suppress(Problem):
            read_question(candidate, length)
