"""Errors as the protocol has them: the problem details that all routes answer, with a member `error`."""

import json

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f2at.serving.api.inference.routes import PATH
from f2at.serving.problems import MEDIA_TYPE


class ProtocolErrors:
    """ASGI middleware: gives the errors of every path of the protocol the member that its clients read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == PATH or path.startswith(f"{PATH}/")):
            await self.app(scope, receive, send)
            return
        begun: Message | None = None
        body = bytearray()

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if message["status"] >= 400 and headers.get("content-type", "").startswith(MEDIA_TYPE):
                    begun = message  # held back until its body, which is small, is there
                    return
            elif begun is not None:
                body.extend(message.get("body", b""))
                if message.get("more_body", False):
                    return
                problem = json.loads(body)
                content = json.dumps({"error": problem["detail"], **problem}).encode()
                headers = MutableHeaders(raw=begun["headers"])
                headers["Content-Length"] = str(len(content))
                await send(begun)
                message = {"type": "http.response.body", "body": content}
                begun = None
            await send(message)

        await self.app(scope, receive, answer)
