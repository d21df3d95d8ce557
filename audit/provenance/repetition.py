"""The command that repeats an audit, from its report alone: files are named by name and digest, not by path."""

import inspect
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from f2at.audit.provenance.notation import attack_text, names_text
from f2at.audit.reports.statistics import CONFIDENCE
from f2at.audit.request import AuditRequest
from f2at.audit.suites import CUSTOM

OUTPUT = "repeated.json"  # not the report itself, which is not to be lost
_ARRAYS = "images.npz"  # in which arrays have the same digest


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What an audit was made of, as the command line names it.

    Attributes:
        model: the name of a folder or file, or a URL.
        options: how it was opened, by the option's name without dashes before it; None and False are left out.
        data: the name of the labelled images; None: the model's own.
        surrogate: the name of another bundle, if there was one.
        withheld: what the command needs and must not say.
    """

    model: str
    options: Mapping[str, Any]
    data: str | None = None
    surrogate: str | None = None
    withheld: tuple[str, ...] = ()

    def on(self, data: str | None, *, own: bool, surrogate: Self | None) -> Self:
        """The same on these images, and with this surrogate."""
        named = replace(self, data=None if own else data or _ARRAYS)
        if surrogate is None:
            return named
        return replace(named, surrogate=surrogate.model, options={**surrogate.options, **self.options})


def unusual(function: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """Those of the arguments that are not the function's defaults."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in given.items() if name not in parameters or value != parameters[name].default}


def describe_repetition(
    origin: Origin | None,
    request: AuditRequest,
    *,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    surrogate: Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """The command and the files that it names, JSON values; None where no command can repeat it.

    Args:
        origin: None for objects of somebody's program.
        request: what was asked for.
        model, data, surrogate: as the report describes them, with their digests.
    """
    if origin is None:
        return None
    files = [{"what": "model", "name": origin.model, "digest": model.get("digest")}]
    named: list[str] = []
    if origin.data is not None:
        named += ["--data", _no_option(origin.data)]
        files.append({"what": "data", "name": origin.data, "digest": f"sha256:{data['sha256']}"})
    if origin.surrogate is not None:
        named += ["--surrogate", _no_option(origin.surrogate)]
        files.append({"what": "surrogate", "name": origin.surrogate, "digest": (surrogate or {}).get("digest")})
    words = [*named, *_opening(origin.options), *_asking(request), "--output", OUTPUT]
    return {
        "command": shlex.join(["f2at", "audit", _no_option(origin.model), *words]),
        "files": files,
        "withheld": list(origin.withheld),
    }


def model_name(report: Mapping[str, Any]) -> str | None:
    """What the audited model is called: the folder, file or URL that it was, or its architecture; None if neither."""
    if report["repeat"] is not None:
        return str(report["repeat"]["files"][0]["name"])
    model = report["model"]
    architecture = model.get("manifest", {}).get("architecture") or {}
    return model.get("file") or architecture.get("name")  # version 2 had the file there


def _opening(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            yield flag
        else:
            text = _text(value)
            yield from ([f"{flag}={text}"] if text.startswith("-") else [flag, text])


def _text(value: Any) -> str:
    """Text, a number to its last digit, or several."""
    if isinstance(value, str | int):
        return str(value)
    return names_text(list(map(_text, value))) if isinstance(value, Iterable) else repr(float(value))


def _asking(request: AuditRequest) -> Iterator[str]:
    """The options that ask for this request."""
    if request.suite == CUSTOM:
        for entry in request.attacks or ():
            yield from ("--attack", attack_text(entry))
    else:
        yield from ("--suite", request.suite)
    yield from ("--eps", request.eps, "--norm", request.norm)
    for option, texts in (("--threat", request.threats), ("--gate", request.gate)):
        for text in texts:
            yield from (option, text)
    if request.samples is not None:
        yield from ("--samples", str(request.samples))
    yield from ("--seed", str(request.seed), "--examples", str(request.examples))
    for option, number in (("--samples-per-gradient", request.samples_per_gradient), ("--draws", request.draws)):
        if number != 1:
            yield from (option, str(number))
    if request.min_robust_accuracy is not None:
        yield from ("--min-robust-accuracy", repr(request.min_robust_accuracy))
    if request.accept_weak:
        yield "--accept-weak"
    if request.confidence != CONFIDENCE:
        yield from ("--confidence", repr(request.confidence))
    if not request.curve:
        yield "--no-curve"


def _no_option(name: str) -> str:
    """A name that begins with a dash, told from an option."""
    return f"./{name}" if name.startswith("-") else name
