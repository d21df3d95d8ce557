from f2at.serving.jobs.takeover import BEATS, Heartbeats, Watch


def heartbeats(**workers: int) -> Heartbeats:
    return {worker: frozenset({("audit/0", f"{{'count': {count}}}")}) for worker, count in workers.items()}


def test_a_worker_is_silent_once_its_sign_has_stayed_the_same_for_long() -> None:
    watch = Watch()
    found = [watch.silent(heartbeats(dead=1, alive=poll)) for poll in range(BEATS + 2)]
    assert found == [[]] * BEATS + [["dead"]] * 2


def test_any_change_counts_as_a_sign() -> None:
    watch = Watch()
    for poll in range(BEATS):
        watch.silent(heartbeats(worker=poll // (BEATS - 1)))  # changes once, at the last moment
    assert watch.silent(heartbeats(worker=1)) == []
    assert watch.silent({"worker": frozenset({("audit/1", "None")})}) == []  # another shard, without a heartbeat yet


def test_a_worker_that_had_nothing_to_do_in_between_is_not_silent() -> None:
    watch = Watch()
    for _ in range(BEATS):
        watch.silent(heartbeats(worker=1))
    assert watch.silent({}) == []
    assert watch.silent(heartbeats(worker=1)) == []
