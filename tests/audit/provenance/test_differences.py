from f2at.audit.provenance.differences import ABSENT, Difference, causes, differences, leaves


def test_leaves_that_differ_are_named_by_where_they_are() -> None:
    then = {"a": 1, "b": [{"c": None}, 2], "gone": {"x": 1}, "same": [1, [2]], "f": 0.1}
    now = {"a": 1.5, "b": [{"c": "x"}, 2, 3], "same": [1, [2]], "f": 0.1, "new": []}
    assert list(differences(then, now)) == [
        Difference("a", 1, 1.5),
        Difference("b[0].c", None, "x"),
        Difference("b[2]", ABSENT, 3),
        Difference("gone", {"x": 1}, ABSENT),
        Difference("new", ABSENT, []),
    ]
    assert list(differences(then, then)) == []
    assert leaves(then) == 7


def test_a_list_is_not_what_it_would_be_as_an_object() -> None:
    assert list(differences({"a": [1]}, {"a": {"0": 1}})) == [Difference("a", [1], {"0": 1})]


def test_causes_are_what_differs_between_harnesses_over_all_their_environments() -> None:
    def harness(**changes: object) -> dict[str, object]:
        processor = {"model": "X", "features": ["avx", "avx2"], "cores": 2}
        environment = {"numpy": "2.4", "threads": 2, "processor": processor, **changes}
        return {"version": "1", "commit": None, "modified": None, "digest": "sha256:0", "environments": [environment]}

    one = harness()
    assert causes(one, one) == []
    two = {**one, "environments": [*harness()["environments"], *harness(threads=4)["environments"]]}  # type: ignore[misc]
    assert causes(one, two) == [Difference("threads", "2", "2, 4")]
    other = harness(processor={"model": "Y", "features": ["avx", "amx_tile"], "cores": 2}) | {"version": "2"}
    assert causes(one, other) == [
        Difference("version", "1", "2"),
        Difference("processor.model", "X", "Y"),
        Difference("processor.features", "avx2", "amx_tile"),
    ]
    earlier = {**one, "environments": [{"numpy": "2.4"}]}  # of a version that said less
    assert Difference("processor.cores", ABSENT, "2") in causes(earlier, one)
