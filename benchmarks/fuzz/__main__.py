"""Fuzzing: requests that fit the API's description or almost do, and images that are damaged or mislabelled.

No answer may be a 5xx, except a 503 with Retry-After; every answer must be one that /docs.json describes; and the
server's memory must not grow.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import numpy as np
import schemathesis
from numpy.random import Generator
from schemathesis.specs.openapi import checks

from benchmarks.common import markdown_table, parser, publish
from benchmarks.faults import Deployment, backend, wait_for
from benchmarks.fuzz.mutants import mutant
from benchmarks.serving import resident
from f2at.serving.process.launch import is_ready
from f2at.serving.settings import Settings

CHECKS: list[Any] = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
REFUSALS = {400, 413, 415, 422}
SETTINGS = {"F2AT_MAX_AUDITS": "3", "F2AT_MAX_SAMPLES": "5", "F2AT_MAX_BODY": str(1 << 20), "F2AT_RATE": "0"}


class FuzzError(AssertionError):
    """An answer that is not allowed; the message contains the request."""


@dataclass
class Outcome:
    """What was observed in a run."""

    answers: dict[str, Counter[int]] = field(default_factory=dict)  # status codes of images and of each operation
    before: int = 0  # bytes of memory of the server process after the warm-up, a tenth of the requests
    after: int = 0

    def count(self, what: str, status: int) -> None:
        """Count an answer."""
        self.answers.setdefault(what, Counter())[status] += 1

    def total(self) -> int:
        """The number of answers."""
        return sum(answers.total() for answers in self.answers.values())


def run(
    bundle: Path, folder: Path, *, requests: int, seed: int, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Send `requests` requests, at least half of them images, to a server of `bundle`; the seed determines them.

    Raises:
        FuzzError: an image got an answer that is not allowed.
        ExceptionGroup: another request did; from schemathesis, with the request that shows it.
    """
    deployment, outcome = Deployment(bundle, folder, {**SETTINGS, **(environment or {})}), Outcome()
    rng = np.random.default_rng(seed)
    try:
        wait_for(lambda: is_ready(deployment.client), 120, "the server starts")
        done = _audit(deployment.client)
        for share, last in ((0.1, False), (0.9, True)):
            count = round(requests * share)
            before = outcome.total()
            _fuzz_operations(deployment.client, count // 2, seed + last, done, outcome)
            _fuzz_images(deployment.client, count - (outcome.total() - before), rng, outcome)
            memory = resident(deployment.pids()["server process"])
            outcome.before, outcome.after = (outcome.before if last else memory), memory
        if not is_ready(deployment.client):
            raise FuzzError("the server is not ready any more")
    finally:
        deployment.stop()
    return outcome


def _audit(client: httpx.Client) -> str:
    """An audit that is done, for requests that need one."""
    attacks = [{"name": "fgsm"}]
    audit = client.post("/audits", json={"suite": "custom", "attacks": attacks, "samples": 1}).raise_for_status().json()
    identifier: str = audit["id"]
    wait_for(lambda: client.get(f"/audits/{identifier}").json()["state"] == "done", 120, "an audit of one image ends")
    return identifier


def _fuzz_images(client: httpx.Client, count: int, rng: Generator, outcome: Outcome) -> None:
    for _ in range(count):
        data = mutant(rng)
        match rng.integers(4):
            case 0:
                answer = client.post("/predict", files={"image": ("image", data)})
            case 1:
                answer = client.post("/predict", content=data, headers={"Content-Type": "image/png"})
            case 2:
                answer = client.post("/predict?planes=3", files={"image": ("image", data)})
            case _:
                files = [("images", ("image", each)) for each in [data, *(mutant(rng) for _ in range(rng.integers(2)))]]
                answer = client.post("/predict_batch", files=files)
        outcome.count("images", answer.status_code)
        busy = answer.status_code == 503 and "retry-after" in answer.headers
        if not (answer.status_code == 200 or answer.status_code in REFUSALS or busy):
            raise FuzzError(f"{answer.request.url.path}: {answer.status_code} {answer.text} for {data.hex()}")


def _fuzz_operations(client: httpx.Client, count: int, seed: int, done: str, outcome: Outcome) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/docs.json").raise_for_status().json())
    results: Any = schema.get_all_operations()
    operations = [result.ok() for result in results]
    modes = list(schemathesis.GenerationMode)
    each = max(1, count // (len(operations) * len(modes)))
    for operation in operations:
        for mode in modes:

            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=each,
                database=None,
                deadline=None,
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy(mode), known=hypothesis.strategies.booleans())
            def one(case: Any, known: bool) -> None:
                names = {"id": done, "name": Settings.model_fields["model_name"].default}
                for parameter in names.keys() & case.path_parameters.keys() if known else ():
                    case.path_parameters[parameter] = names[parameter]
                if known and case.query:
                    case.query.pop("purge", None)  # the audit is needed further on
                answer = case.call(base_url=str(client.base_url), timeout=30)
                outcome.count(f"{case.method} {case.path}", answer.status_code)
                case.validate_response(answer, checks=CHECKS)

            with suppress(hypothesis.errors.Unsatisfiable):  # nothing in it to vary
                one()


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument("--requests", type=int, default=10_000, help="(default: %(default)s)")
    arguments.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    arguments.add_argument("--database", metavar="URL", help="default: SQLite")
    options = arguments.parse_args()
    environment = {"F2AT_DATABASE_URL": options.database} if options.database else {}
    kind = backend(options.database)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(
            options.bundle, Path(folder), requests=options.requests, seed=options.seed, environment=environment
        )
    growth = outcome.after / outcome.before - 1
    body = "\n".join(
        [
            f"{outcome.total()} requests to a server on {kind}, seed {options.seed}: images that are damaged, odd or "
            "not what they say, and requests made from the API's description, fitting it or not. No answer was a 5xx "
            "but for documented 503s, and every answer was one that /docs.json describes.",
            "",
            markdown_table(
                ["request", "answers"], [(what, _counts(answers)) for what, answers in outcome.answers.items()]
            ),
            "",
            f"Memory of the server process after a tenth of the requests: {outcome.before / 1e6:.0f} MB; in the end: "
            f"{outcome.after / 1e6:.0f} MB ({100 * growth:+.1f} %; goal: at most +10 %).",
        ]
    )
    command = f"python -m benchmarks.fuzz {options.bundle} --requests {options.requests} --seed {options.seed}"
    command += " --database URL" if options.database else ""
    name = "fuzz" if kind == "sqlite" else f"fuzz-{kind}"
    publish(name, command, body, ["bentoml", "schemathesis", "hypothesis", "pillow"], write=options.write)
    if growth > 0.1:
        sys.exit("the server's memory grew by more than 10 %")


def _counts(answers: Counter[int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))


if __name__ == "__main__":
    main()
