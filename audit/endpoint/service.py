"""Our own service: POST /predict_batch, in the batches that it takes."""

from typing import Any

from f2at.audit.endpoint.address import Address, EndpointError
from f2at.audit.endpoint.answers import Answer, read_answer
from f2at.audit.endpoint.protocols import Message, form, one_each
from f2at.images.pixels import Images
from f2at.images.preparation import Preparation


class Service:
    """A service of `f2at serve`, and the model that it said it serves.

    base: where its routes begin.
    model: what GET /model answered.
    """

    filled = False

    def __init__(self, base: Address, model: dict[str, Any]) -> None:
        self._address = base.at(f"{base.path.rstrip('/')}/predict_batch")
        self.digest = str(model["digest"])
        self.classes = tuple(map(str, model["classes"]))
        height, width = model["input_size"]
        self.preparation = Preparation.of((height, width), model.get("preprocessing", {}))
        self.batch = int(model["limits"]["max_batch"])

    def message(self, images: Images) -> Message:
        """See `Interface`."""
        return form(self._address, "images", images)

    def answers(self, value: Any, count: int) -> list[Answer]:
        """See `Interface`; a model that was swapped in meanwhile is an error."""
        if not isinstance(value, dict) or "predictions" not in value:
            raise EndpointError("the service's answer has no predictions")
        if value.get("model") != self.digest:
            raise EndpointError(
                f"the service has another model now, {value.get('model')}: this audit is of {self.digest}; begin anew"
            )
        return [read_answer(item) for item in one_each(value["predictions"], count)]


def is_service(value: Any) -> bool:
    """Whether this is what GET /model of our service answers."""
    return isinstance(value, dict) and {"digest", "classes", "input_size", "limits"} <= value.keys()
