import subprocess
import sys
from pathlib import Path

from f2at.serving.process.places import Places

CHILD = """
import sys
from pathlib import Path
from f2at.serving.process.places import Places
place = Places()
print(place.take({Path(sys.argv[1]): 2}), flush=True)
sys.stdin.read()
"""


def test_places_run_out_and_come_back(tmp_path: Path) -> None:
    whole, mine, other = tmp_path / "all", tmp_path / "mine", tmp_path / "other"
    taken = [Places() for _ in range(4)]
    assert [place.take({mine: 2, whole: 3}) for place in taken] == [None, None, mine, mine]
    assert taken[2].take({other: 2, whole: 3}) is None
    assert taken[3].take({other: 2, whole: 3}) == whole
    assert Places().take({other: 1}) == other  # a refused one keeps nothing
    taken[0].leave()
    taken[0].leave()
    assert taken[3].take({other: 2, whole: 3}) is None
    del taken[1]
    assert Places().take({mine: 2, whole: 3}) is None


def test_the_places_of_a_killed_process_are_free(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"None\n"
    places = Places(), Places()
    assert [place.take({tmp_path: 2}) for place in places] == [None, tmp_path]
    child.kill()
    child.communicate()
    assert places[1].take({tmp_path: 2}) is None
