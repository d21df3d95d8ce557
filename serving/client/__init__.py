"""Typed clients of the service, blocking and for asyncio; they need only httpx and pydantic, and no model.

with Client("http://127.0.0.1:3000", key="...") as client:
    print(client.predict(Path("digit.png")).label)
    for audit in client.follow(client.start_audit(suite="adaptive", eps="32/255", samples=200).id):
        print(audit.state, audit.progress)
    report = client.report(audit.id)

`core` decides what is asked, how often, and what the answers mean; it does no I/O. `synchronous` and `asynchronous` do
what it says, and nothing else.
"""

from f2at.serving.client.asynchronous import AsyncClient
from f2at.serving.client.errors import ServiceError
from f2at.serving.client.inputs import Image
from f2at.serving.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "Image", "ServiceError"]
