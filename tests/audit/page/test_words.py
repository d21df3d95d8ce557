import json
import shlex
import subprocess
import sys

from f2at.audit.page.words import checks, count, nearest, parameters, percent, power, shell, tally


def test_percent() -> None:
    assert (percent(0.125), percent(1.0), percent(None)) == ("12.5\u00a0%", "100.0\u00a0%", "no samples")


def test_l1_speaks_of_the_sum_over_all_values() -> None:
    assert power({"norm": "l1", "levels": 3060.0}) == (
        "change the image by up to 3,060 levels in all (summed over the channels of all pixels)"
    )
    median = {"n": 3, "levels": 12_240.5, "norm": "l1"}
    assert "a change of 12,240 levels or less (l1 norm)" in nearest({"curve": {"median_minimal_perturbation": median}})


def test_count() -> None:
    assert (count(1, "image"), count(0, "image"), count(1200, "image")) == ("1 image", "0 images", "1,200 images")


def test_parameters() -> None:
    assert parameters({"steps": 20, "step_size": None, "stop_at_success": True, "start": "none"}) == (
        "steps: 20, step size: automatic, stop at success: yes, start: none"
    )


def test_what_was_found_is_never_said_to_have_passed() -> None:
    def states(*found: tuple[bool | None, bool | None]) -> list[str]:
        flags = [
            {"raised": raised, "found": some, "check": "All is well", "title": "", "meaning": "", "evidence": ""}
            for raised, some in found
        ]
        return [row["state"] for row in checks({"flags": flags})]

    assert states((False, False), (False, True), (True, True), (None, None)) == ["passed", "noted", "failed", "not run"]


def test_tally() -> None:
    rows = [{"state": state} for state in ("passed", "not run", "passed", "failed", "noted")]
    assert tally(rows) == "1 failed, 1 noted, 2 passed, 1 not run, of 5"
    assert tally(rows[:1]) == "1 passed, of 1"


def test_a_command_in_lines_is_one_command() -> None:
    words = ["f2at", "audit", "a model's", *(f"--option-{n}" for n in range(20)), "--attack", 'pgd:as="1"', "--x=-1 2"]
    text = shell(shlex.join(words))
    lines = text.splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(("  --", "  '--")) for line in lines[1:])
    script = text.replace("f2at", f'{sys.executable} -c "import json, sys; print(json.dumps(sys.argv[1:]))"', 1)
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30).stdout
    assert json.loads(said) == words[1:]


def test_a_command_that_is_none_is_shown_as_it_is() -> None:
    assert shell("f2at audit 'x") == "f2at audit 'x"
