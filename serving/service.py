"""The BentoML service: `F2AT_BUNDLE=bundles/digits bentoml serve serving.service:RobustClassifier`."""

# mypy: disable-error-code="untyped-decorator, attr-defined"
# (BentoML's decorators are untyped, and turn the class into a service with attributes of its own.)

import logging
import os

import bentoml
from bentoml.exceptions import BentoMLException
from starlette.requests import Request
from starlette.responses import Response

from export.signatures import read_private_key
from serving import logs
from serving.answers import Prediction, Predictions
from serving.audits import Audits
from serving.database import prepare_database
from serving.middleware import Gate, Observer
from serving.patterns import read_planes
from serving.predictor import Predictor
from serving.problems import Problem
from serving.settings import Settings
from serving.store import MODEL_NAME, load_surrogate, load_trusted, pinned_bundle
from serving.supervisor import Supervisor, call_on_exit_signal
from serving.uploads import ImagesUpload, ImageUpload, read_files
from serving.web import Backend, create_app

_LOG = logging.getLogger("bentoml.f2at")
backend = Backend()


# Prediction uses BentoML's own endpoints: its Python client and OpenAPI page then work, for half a millisecond a call.
# What those cannot do (GET, DELETE, paths with parameters, event streams) is the mounted application.
# BentoML's own metrics and access log are replaced: see serving.metrics and serving.middleware.
@bentoml.service(name=MODEL_NAME, metrics={"enabled": False}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(create_app(backend), path="/")
class RobustClassifier:
    """Predicts with the model of a bundle, and audits that same model on demand."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse what cannot work, in one line; runs once, in the folder the user is in, before any server process."""
        try:
            settings = Settings.from_env()
            logs.configure(settings.log_format)
            folder = settings.bundle or pinned_bundle(RobustClassifier.bento)
            load_surrogate(settings, load_trusted(folder, settings))
            prepare_database(settings.database_url)
            if settings.signing_key:
                read_private_key(settings.signing_key)
        except ValueError as error:
            raise BentoMLException(str(error)) from error
        # A built Bento runs elsewhere: from here on, folders are absolute.
        os.environ |= {**settings.paths(), "F2AT_BUNDLE": str(folder)}

    def __init__(self) -> None:
        settings = backend.settings = Settings.from_env()
        logs.configure(settings.log_format)
        bundle = load_trusted(settings.bundle or pinned_bundle(RobustClassifier.bento), settings)
        surrogate = load_surrogate(settings, bundle)
        backend.predictor = Predictor(bundle, settings)
        backend.audits = Audits(
            settings.database_url,
            bundle.digest,
            surrogate=surrogate.digest if surrogate else None,
            reference_images=backend.predictor.reference_images,
            max_audits=settings.max_audits,
            max_samples=settings.max_samples,
        )
        self.supervisor = Supervisor(settings, bundle.path) if settings.worker else None
        call_on_exit_signal(backend.stopping.set)  # open event streams would hold the shutdown up
        _LOG.info("Serving %s; without API keys, audits answer this machine only.", bundle.digest)

    @bentoml.on_startup
    def start(self) -> None:
        """Start the audit worker, once the model is ready to answer."""
        if self.supervisor:
            self.supervisor.start()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Stop the audit worker."""
        if self.supervisor:
            self.supervisor.stop()
        backend.predictor.close()
        backend.audits.close()

    @bentoml.api(input_spec=ImageUpload, output_spec=Prediction)
    async def predict(self, image: Request) -> Prediction | Response:
        """Classify one image; with `?planes=K`, say what its upper K bit-planes look like to the model, too."""
        try:
            planes = read_planes(image.query_params.get("planes"))
            return (await backend.predictor.predict(await read_files(image, "image", most=1), planes))[0]
        except Problem as problem:
            return problem.response()

    @bentoml.api(input_spec=ImagesUpload, output_spec=Predictions)
    async def predict_batch(self, images: Request) -> Predictions | Response:
        """Classify several images; one that cannot be read refuses them all."""
        try:
            files = await read_files(images, "images", most=backend.settings.max_batch)
            return Predictions(predictions=await backend.predictor.predict(files), model=backend.digest)
        except Problem as problem:
            return problem.response()


RobustClassifier.add_asgi_middleware(Observer)
RobustClassifier.add_asgi_middleware(Gate, max_body=lambda: backend.settings.max_body, digest=lambda: backend.digest)
