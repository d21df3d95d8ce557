from f2at.audit.page.words import checks, count, parameters, percent


def test_percent() -> None:
    assert (percent(0.125), percent(1.0), percent(None)) == ("12.5\u00a0%", "100.0\u00a0%", "no samples")


def test_count() -> None:
    assert (count(1, "image"), count(0, "image"), count(1200, "image")) == ("1 image", "0 images", "1,200 images")


def test_parameters() -> None:
    assert parameters({"steps": 20, "step_size": None, "stop_at_success": True, "start": "none"}) == (
        "steps: 20, step size: automatic, stop at success: yes, start: none"
    )


def test_checks() -> None:
    def flags(*states: bool | None) -> dict[str, list[dict[str, bool | None]]]:
        return {"flags": [{"raised": state} for state in states]}

    assert checks(flags(False, False)) == "none of 2 raised"
    assert checks(flags(True, None, None)) == "1 of 3 raised, 2 not looked for"
