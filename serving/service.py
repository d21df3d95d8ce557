"""The BentoML service: `F2AT_BUNDLE=bundles/digits bentoml serve f2at.serving.service:RobustClassifier`."""

# mypy: disable-error-code="untyped-decorator, attr-defined"
# (BentoML's decorators are untyped, and turn the class into a service with attributes of its own.)

import gc
import logging
from contextlib import suppress

import bentoml
from starlette.requests import Request
from starlette.responses import Response

from f2at.bundle.keys import read_private_key
from f2at.serving.access.guard import Access, Guard
from f2at.serving.answers import Prediction, Predictions
from f2at.serving.api import predictions
from f2at.serving.api.backend import Backend
from f2at.serving.api.inference.errors import ProtocolErrors
from f2at.serving.api.middleware import Gate, Observer
from f2at.serving.api.readiness import Readiness
from f2at.serving.api.routes import create_app
from f2at.serving.bento.connections import allow_open_files, bound_connections
from f2at.serving.bento.environment import export_settings, refuse
from f2at.serving.bento.models import MODEL_NAME, pinned_bundle
from f2at.serving.bento.routes import every_route
from f2at.serving.bento.shortcut import Shortcut
from f2at.serving.bento.signals import call_on_exit_signal, call_on_hangup, exit_within, forward_hangup
from f2at.serving.bento.uploads import ImagesUpload, ImageUpload
from f2at.serving.decoding.pool import Decoders
from f2at.serving.jobs.database import prepare_database
from f2at.serving.jobs.supervisor import Supervisor
from f2at.serving.model.deployment import choose_model, lock_state
from f2at.serving.model.store import load_surrogate
from f2at.serving.model.swap import BusyError, SwapError, Switch
from f2at.serving.process import logs
from f2at.serving.settings import Settings
from f2at.serving.webhooks.process import prepare_webhooks

_LOG = logging.getLogger("bentoml.f2at")
backend = Backend()
app = create_app(backend)
routes = every_route(app)


# Predictions are also declared as BentoML endpoints, so that its Python client and OpenAPI page work. The mounted
# application does what those cannot (GET, DELETE, paths with parameters, event streams).
# BentoML's own metrics, access log and time limit are replaced: see f2at.serving.process.metrics and
# f2at.serving.api.middleware.
@bentoml.service(
    name=MODEL_NAME,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 90},  # never reached: see Gate
)
@bentoml.asgi_app(app, path="/")
class RobustClassifier:
    """Predicts with the model of a bundle, and audits that model on demand."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse settings that cannot work, in one line; runs once, in the user's folder, before any server process."""
        try:
            settings = Settings()
            logs.configure(settings.log_format)
            folder = settings.bundle or pinned_bundle(RobustClassifier.bento)
            lock_state(settings)
            load_surrogate(settings, choose_model(folder, settings))
            prepare_database(settings.database_url)
            Guard(settings, routes)
            if settings.signing_key:
                read_private_key(settings.signing_key)
            prepare_webhooks(settings)
        except (ValueError, OSError) as error:
            refuse(error)
        export_settings(settings, folder)
        forward_hangup()

    def __init__(self) -> None:
        settings = backend.settings = Settings()
        logs.configure(settings.log_format)
        allow_open_files(settings)
        backend.guard = Guard(settings, routes)
        backend.decoders = Decoders(settings)
        backend.switch = Switch(settings)
        self.supervisor = Supervisor(settings, backend.switch.models_needing_workers)
        call_on_exit_signal(self.begin_stop)
        call_on_hangup(self.reload)
        if not backend.guard.keys.configured:
            _LOG.warning("There are no API keys: anyone may predict, and only this machine may use audits.")
        _LOG.info("Serving %s.", backend.deployment.digest)

    def begin_stop(self) -> None:
        """Start to stop: running predictions finish, event streams end, workers requeue their audits."""
        backend.stopping.set()
        self.supervisor.begin_stop()
        exit_within(backend.settings.grace)

    def reload(self) -> None:
        """Serve the bundle that is now in F2AT_BUNDLE."""
        with suppress(SwapError, BusyError):  # already logged
            backend.switch.reload()

    @bentoml.on_startup
    def start(self) -> None:
        """Start the background threads, once the model is ready to answer."""
        backend.decoders.start()
        backend.switch.start()
        self.supervisor.start()
        # What is there by now stays. Python's collector would walk over all of it, while some request waits.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Stop the background threads."""
        self.supervisor.stop()
        backend.switch.stop()
        backend.decoders.stop()

    # Declared for BentoML's OpenAPI page and its Python client; requests take the shortcut. BentoML passes parameters
    # by the name of their form field, so the request cannot be called `request`.
    @bentoml.api(input_spec=ImageUpload, output_spec=Prediction)
    async def predict(self, image: Request) -> Response:
        """Classify one image; with `?planes=K`, also classify its upper K bit-planes."""
        return await predictions.predict(image)

    @bentoml.api(input_spec=ImagesUpload, output_spec=Predictions)
    async def predict_batch(self, images: Request) -> Response:
        """Classify several images; if one cannot be read, the whole request is refused."""
        return await predictions.predict_batch(images)


bound_connections(lambda: backend.settings)
RobustClassifier.add_asgi_middleware(Observer)
RobustClassifier.add_asgi_middleware(ProtocolErrors)
RobustClassifier.add_asgi_middleware(
    Gate,
    settings=lambda: backend.settings,
    deployment=lambda: backend.deployment,
    decoders=lambda: backend.decoders,
)
RobustClassifier.add_asgi_middleware(Access, guard=lambda: backend.guard)
RobustClassifier.add_asgi_middleware(Readiness, trouble=lambda: backend.deployment.audits.health.lost)
RobustClassifier.add_asgi_middleware(Shortcut, routes=predictions.ROUTES)
