from typing import Any

from attacks.audit import Step
from serving.worker import progress

STAGES = ("clean", "fgsm", "pgd")
PLAN = [Step(3 * shard + place, shard, place, stage) for shard in range(2) for place, stage in enumerate(STAGES)]


def broken(*positions: int) -> dict[str, Any] | None:
    return {"positions": list(positions)} if positions else None


def test_progress_adds_up_the_shards_done_so_far() -> None:
    results: list[dict[str, Any]] = [
        {"shard": 0, "stage": "clean", "attempted": [0, 1, 2, 3], "correct": [0, 1, 3]},
        {"shard": 0, "stage": "fgsm", "attempted": [0, 1, 3], "broken": broken(1)},
        {"shard": 0, "stage": "pgd", "attempted": [0, 3], "broken": broken()},
        {"shard": 1, "stage": "clean", "attempted": [4, 5], "correct": [4, 5]},
        {"shard": 1, "stage": "fgsm", "attempted": [4, 5], "broken": broken(4, 5)},
    ]
    assert progress(PLAN, []) == {
        "done": 0,
        "total": 6,
        "stages": [{"stage": stage, "shards": 0, "total": 2, "samples": 0, "robust": 0} for stage in STAGES],
    }
    assert progress(PLAN, results) == {
        "done": 5,
        "total": 6,
        "stages": [
            {"stage": "clean", "shards": 2, "total": 2, "samples": 6, "robust": 5},
            {"stage": "fgsm", "shards": 2, "total": 2, "samples": 6, "robust": 2},
            {"stage": "pgd", "shards": 1, "total": 2, "samples": 4, "robust": 2},
        ],
    }
