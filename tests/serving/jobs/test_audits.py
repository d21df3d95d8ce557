"""The audit store against real databases, without a worker."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from f2at.serving.jobs import version, workflows
from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.database import DatabaseError, prepare_database, server_engine
from f2at.serving.jobs.records import Arguments, Filters
from f2at.serving.jobs.version import application_version
from f2at.serving.problems import Problem

if TYPE_CHECKING:
    from tests.conftest import NewDatabase


@pytest.fixture
def url(new_database: "NewDatabase") -> str:
    return new_database()


@pytest.fixture
def audits(url: str) -> Iterator[Audits]:
    store = Audits(url, "sha256:one", size=(8, 8), reference_images=50, max_audits=3, max_samples=40)
    yield store
    store.close()


@contextmanager
def refused(status: int) -> Iterator[None]:
    with pytest.raises(Problem) as caught:
        yield
    assert caught.value.status == status


def test_a_new_audit_is_queued_with_everything_spelt_out(audits: Audits) -> None:
    audit, new = audits.submit({"eps": "4/255"}, None)
    assert new
    assert audit["state"] == "queued"
    assert audit["model"] == "sha256:one"
    assert audit["request"]["samples"] == 40  # all there are, up to the server's limit
    assert audit["request"]["eps"] == "4/255"
    assert audits.get(audit["id"]) == audit
    assert audits.list() == [audit]


def test_an_estimate_starts_nothing_and_refuses_what_a_submission_refuses(audits: Audits) -> None:
    pgd = [{"name": "pgd", "steps": 9, "restarts": 1}]  # 10 gradients an image
    asked = {"suite": "custom", "attacks": pgd, "samples": 30}
    assert audits.estimate(asked) == {"most_evaluations": 300, "most_seconds": None}
    assert audits.list() == []
    learns = {"threats": ["universal"], "samples": 3}  # from more images than there are
    for wrong in ({"eps": "9/2"}, {"samples": 41}, {"epz": 1}, learns, {"context": 1}):
        refusals = []
        for ask in (audits.estimate, lambda values: audits.submit(values, None)):
            with pytest.raises(Problem) as caught:
                ask(wrong)
            refusals.append((caught.value.status, caught.value.body))
        assert refusals[0] == refusals[1]
        assert refusals[0][0] == 422


def test_the_same_key_gives_the_same_audit(audits: Audits) -> None:
    first, new = audits.submit({"seed": 1}, "key")
    again, newly = audits.submit({"seed": 1, "norm": "linf"}, "key")  # the same request, spelt differently
    assert (first, True, False) == (again, new, newly)
    with refused(409):
        audits.submit({"seed": 2}, "key")
    with refused(400):
        audits.submit({"seed": 1}, "../key")


def test_an_audit_says_who_asked(audits: Audits) -> None:
    assert audits.submit({}, "mine", by="ci")[0]["by"] == "ci"
    assert audits.submit({}, None)[0]["by"] is None


def test_no_caller_gets_the_audit_of_another_by_its_idempotency_key(audits: Audits) -> None:
    callers = (None, "ci", "another")
    first = [audits.submit({"seed": seed}, "nightly", by=by) for seed, by in enumerate(callers)]
    assert [(audit["by"], audit["request"]["seed"], new) for audit, new in first] == [
        (by, seed, True) for seed, by in enumerate(callers)
    ]
    again = [audits.submit({"seed": seed}, "nightly", by=by) for seed, by in enumerate(callers)]
    assert again == [(audit, False) for audit, _ in first]
    for audit, _ in first:
        assert audits.get(audit["id"]) == audit
    with pytest.raises(Problem, match="The Idempotency-Key nightly belongs to another request"):
        audits.submit({"seed": 7}, "nightly", by="ci")


@pytest.mark.parametrize(
    "identifier", ["\0", "a\0", "", "a/0", "a:", ":a", "a:b:c", "a\n", ".hidden", "\udcff", "x" * 65, "a b", "'--"]
)
def test_what_can_be_no_id_is_no_audit_and_never_reaches_the_database(audits: Audits, identifier: str) -> None:
    for read in (audits.get, audits.report, audits.cancel):
        with refused(404):
            read(identifier)
    if identifier:
        with refused(400):
            audits.submit({}, identifier)
    assert audits.list() == []


def test_the_list_comes_in_parts(audits: Audits) -> None:
    for key in ("one", "two", "three"):
        audits.submit({}, key)
    assert [audit["id"] for audit in audits.list(limit=2)] == ["three", "two"]
    assert [audit["id"] for audit in audits.list(limit=2, offset=2)] == ["one"]
    assert audits.list(offset=3) == []


def test_the_list_is_of_what_was_asked_for(audits: Audits) -> None:
    for key, suite in (("one", "quick"), ("two", "adaptive"), ("three", "quick")):
        audits.submit({"suite": suite}, key)
    audits.cancel("two")

    def found(limit: int = 50, offset: int = 0, **filters: Any) -> list[str]:
        return [audit["id"] for audit in audits.list(limit, offset, Filters(**filters))]

    assert found(states=("cancelled",)) == ["two"]
    assert found(states=("queued", "cancelled")) == ["three", "two", "one"]
    assert found(states=("done", "failed", "running")) == []
    assert found(suite="quick") == ["three", "one"]
    assert found(1, 1, suite="quick") == ["one"]
    assert found(suite="quick", states=("cancelled",)) == []
    assert found(model="sha256:o") == ["three", "two", "one"]
    assert found(model="sha256:two") == []
    created = audits.get("two")["created"]
    assert found(since=created - 1) == ["three", "two", "one"]
    assert found(since=created + 3600) == []


def test_audits_that_have_ended_are_removed_by_who_may(audits: Audits) -> None:
    audits.submit({}, "mine", by="ci")
    with pytest.raises(Problem, match="is queued: cancel it first"):
        audits.remove("ci:mine", "ci")
    audits.cancel("ci:mine")
    with pytest.raises(Problem, match="was not started by the key 'other', and this key lacks the scope 'admin'") as no:
        audits.remove("ci:mine", "other")
    assert no.value.status == 403
    audits.remove("ci:mine", "ci")
    for look in (audits.get, lambda identifier: audits.remove(identifier, None)):
        with refused(404):
            look("ci:mine")
    assert audits.list() == []
    again, new = audits.submit({}, "mine", by="ci")  # the key is free again
    assert (again["state"], new) == ("queued", True)
    audits.cancel("ci:mine")
    audits.remove("ci:mine", None)
    assert audits.list() == []


def test_a_race_for_one_key_has_one_winner(audits: Audits) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: audits.submit({}, "key"), range(8)))
    assert sum(new for _, new in results) == 1
    assert {audit["id"] for audit, _ in results} == {"key"}
    assert len(audits.list()) == 1


@pytest.mark.parametrize(
    "values", [{"epz": 1}, {"samples": 41}, {"samples": "9"}, {"eps": "0"}, {"norm": None}, {"suite": {}}]
)
def test_bad_requests_are_refused(audits: Audits, values: dict[str, Any]) -> None:
    with refused(422):
        audits.submit(values, None)
    assert audits.list() == []


TRANSFER = {"suite": "transfer"}


def test_transfer_attacks_need_a_surrogate(audits: Audits, url: str) -> None:
    with pytest.raises(Problem, match="F2AT_SURROGATE") as caught:
        audits.submit(TRANSFER, None)
    assert caught.value.status == 422
    other = Audits(
        url, "sha256:one", surrogate="sha256:two", size=(8, 8), reference_images=50, max_audits=1, max_samples=40
    )
    audit, _ = other.submit(TRANSFER, None)
    other.close()
    assert audit["state"] == "queued"
    assert "another model" in audits.get(audit["id"])["detail"]  # its worker would also need the surrogate


def test_what_would_cost_too_much_is_refused(url: str) -> None:
    # Of 40 samples: 7 queries each are allowed, 8 are not.
    audits = Audits(
        url, "sha256:one", size=(8, 8), reference_images=50, max_audits=3, max_samples=40, max_evaluations=300
    )

    def square(queries: int, samples: int) -> dict[str, Any]:
        return {"suite": "custom", "attacks": [{"name": "square", "queries": queries}], "samples": samples}

    assert audits.submit(square(7, 40), None)[1]
    with pytest.raises(Problem, match="F2AT_MAX_EVALUATIONS") as caught:
        audits.submit(square(8, 40), None)
    assert (caught.value.status, caught.value.body["received"]) == (422, 320)
    assert audits.submit(square(8, 37), None)[1]
    with refused(422):
        audits.submit({}, None)
    audits.close()


def test_the_queue_is_bounded(audits: Audits) -> None:
    submitted = [audits.submit({"seed": seed}, None)[0] for seed in range(3)]
    with refused(429):
        audits.submit({}, None)
    audits.cancel(submitted[0]["id"])
    audits.submit({}, None)


def test_a_race_for_the_last_places_has_no_more_winners_than_places(url: str) -> None:
    one, two = (
        Audits(url, "sha256:one", size=(8, 8), reference_images=9, max_audits=3, max_samples=9) for _ in range(2)
    )
    stores = (one, two)  # as two processes have them

    def submit(number: int) -> bool:
        try:
            return stores[number % 2].submit({"seed": number}, None)[1]
        except Problem as problem:
            return problem.status != 429

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(submit, range(12))) == 3
    assert len(stores[0].list()) == 3
    for store in stores:
        store.close()


def test_a_key_has_its_share_of_the_queue(url: str) -> None:
    store = Audits(
        url, "sha256:one", size=(8, 8), reference_images=50, max_audits=3, max_samples=40, max_audits_per_key=2
    )
    mine = [store.submit({"seed": seed}, None, by="ci")[0] for seed in range(2)]
    with pytest.raises(Problem, match="2 audits of the key 'ci' are queued or running") as caught:
        store.submit({"seed": 2}, None, by="ci")
    assert caught.value.status == 429
    assert store.submit({}, None, by="another")[1]
    with pytest.raises(Problem, match=r"^3 audits are queued"):
        store.submit({}, None, by="third")
    store.cancel(mine[0]["id"])
    assert store.submit({"seed": 2}, None, by="ci")[1]
    store.close()


def test_cancelling(audits: Audits) -> None:
    audits.submit({}, "key")
    assert audits.cancel("key")["state"] == "cancelled"
    assert audits.cancel("key")["state"] == "cancelled"
    with refused(409):
        audits.report("key")
    with refused(404):
        audits.cancel("none")
    with refused(404):
        audits.report("none")


def test_an_audit_of_another_model_is_shown_as_waiting(audits: Audits, url: str) -> None:
    other = Audits(url, "sha256:two", size=(8, 8), reference_images=50, max_audits=1, max_samples=40)
    audit, _ = other.submit({}, None)
    other.close()
    assert "another model" in audits.get(audit["id"])["detail"]
    for seed in range(3):  # nor does it count against this model's limit
        audits.submit({"seed": seed}, None)


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, not a folder")
    for url in (f"sqlite:///{tmp_path}/file", f"sqlite:///{tmp_path}/file/audits.sqlite", "nonsense"):
        with pytest.raises(DatabaseError, match="F2AT_DATABASE_URL"):
            prepare_database(url)


def test_nothing_is_pickled(audits: Audits, url: str) -> None:
    audits.submit({}, None)
    engine = server_engine(url)
    with engine.connect() as connection:
        table = "workflow_status" if url.startswith("sqlite") else "dbos.workflow_status"
        rows = connection.execute(text(f"SELECT serialization FROM {table}")).fetchall()
    engine.dispose()
    assert rows == [("portable_json",)]


def test_what_the_owner_says_goes_with_the_audit_and_not_into_its_request(audits: Audits) -> None:
    said = {"responsible_person": "A. Lovelace", "valid_until": "2027-06-30"}
    audit, _ = audits.submit({"seed": 1, "context": said}, "key")
    assert "context" not in audit["request"]
    stored = Arguments.of(audits._status("key")).context
    assert stored is not None
    assert {name: value for name, value in stored.items() if value} == said
    again, new = audits.submit({"seed": 1, "context": said}, "key")
    assert (again["id"], new) == ("key", False)
    with refused(409):
        audits.submit({"seed": 1, "context": said | {"valid_until": "2028-06-30"}}, "key")
    audits.submit({"seed": 1}, "without")
    for nothing in (None, {}, {"responsible_person": None}):
        assert not audits.submit({"seed": 1, "context": nothing}, "without")[1]


@pytest.mark.parametrize(
    ("context", "argument", "detail"),
    [
        ({"responsible": "A"}, "context.responsible", "context: unknown argument 'responsible'; accepted: "),
        ({"eps_rationale": 2001 * "x"}, "context.eps_rationale", "context: eps_rationale must be text of 1 to 2000"),
        ({"valid_until": "soon"}, "context.valid_until", "context: valid_until must be a day, YYYY-MM-DD; got 'soon'"),
        ("A", "context", "context must be an object"),
        (["A"], "context", "context must be an object"),
    ],
)
def test_what_is_wrong_in_it_is_answered_with_422(audits: Audits, context: Any, argument: str, detail: str) -> None:
    with pytest.raises(Problem) as caught:
        audits.submit({"context": context}, None)
    assert (caught.value.status, caught.value.body["argument"]) == (422, argument)
    assert str(caught.value.body["detail"]).startswith(detail)
    assert audits.list() == []


def test_the_version_names_model_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [("sha256:one",), ("sha256:two",), ("sha256:one", "sha256:two"), ("sha256:one", "sha256:three")]
    assert len({application_version(*digests) for digests in versions}) == 4
    before = application_version("sha256:one")
    assert before == application_version("sha256:one")
    monkeypatch.setattr(version, "shaping_code", lambda: "other code")
    assert before != (before := application_version("sha256:one"))
    shutil.copy(workflows.__file__, tmp_path)
    monkeypatch.setattr(version, "__file__", str(tmp_path / "version.py"))
    assert before == application_version("sha256:one")
    with (tmp_path / "workflows.py").open("a") as file:
        file.write("# changed\n")
    assert before != application_version("sha256:one")
