import json
import shlex
import subprocess
import sys

from f2at.audit.page.words import checks, count, parameters, percent, shell


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
