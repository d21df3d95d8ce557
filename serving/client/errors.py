"""What a client raises when the service says no."""

from typing import Any

import httpx


class ServiceError(Exception):
    """An error answer, with the fields of its problem details (RFC 9457).

    Attributes:
        status: the HTTP status.
        kind: the kind of problem, such as "invalid-argument"; the last part of the problem's `type`.
        detail: what was wrong and what to do, for a person.
        problem: the whole answer, with `argument`, `accepted` and `received`.
    """

    def __init__(self, response: httpx.Response) -> None:
        try:
            problem = response.json()
        except ValueError:  # something in front of the service answered, such as a proxy
            problem = {}
        self.problem: dict[str, Any] = problem if isinstance(problem, dict) else {}
        self.status = response.status_code
        self.kind = str(self.problem.get("type", "")).rpartition(":")[2]
        self.detail = str(self.problem.get("detail") or response.reason_phrase)
        super().__init__(f"{self.status} {self.kind or 'error'}: {self.detail}")
