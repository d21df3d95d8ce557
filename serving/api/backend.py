"""What the routes of a server process share."""

import asyncio

from starlette.requests import Request

from f2at.serving.access.guard import Guard
from f2at.serving.decoding.pool import Decoders
from f2at.serving.model.deployment import Deployment
from f2at.serving.model.swap import Switch
from f2at.serving.settings import Settings


class Backend:
    """The state that the routes share; the service sets it when its process starts."""

    settings: Settings
    guard: Guard
    decoders: Decoders
    switch: Switch

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    @property
    def deployment(self) -> Deployment:
        """What is served now; a request keeps the one it started with, see `deployed`."""
        return self.switch.deployment


def deployed(request: Request) -> Deployment:
    """The model that answers this request from start to end, and its audits."""
    deployment: Deployment = request.state.deployment
    return deployment
