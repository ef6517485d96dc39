"""The HTTP API as an ASGI application: routes, limits, errors of one line as JSON."""

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo import __version__
from dentalzoo.errors import DentalzooError, MissingPackage, TooManyPixels, require
from dentalzoo.serving.annotation import (
    Images,
    Labeling,
    cvat_function,
    cvat_name,
    cvat_result,
    from_base64,
    label_studio_result,
)
from dentalzoo.serving.inference import DICOM, JSON, PNG, Served, UnknownKind
from dentalzoo.serving.slots import Busy, Late, Slots

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")

_RETURNS = (JSON, PNG, DICOM)
_TASKS = 100  # of a request of Label Studio: ours
_FAMILIARITY = "X-Familiarity"
_KNOWN = {
    "headers": {
        _FAMILIARITY: {
            "description": "whether the bundle knows such images, whatever the form of the result: "
            '"familiar", "unusual" or "foreign", the score and its bound, as in '
            '"foreign; score=6.74; bound=1"; "unknown" for a bundle that cannot tell',
            "schema": {"type": "string"},
        }
    }
}
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in (PNG, "image/jpeg", "image/tiff", DICOM, "application/octet-stream")
        },
    },
    "responses": {
        "200": {
            "description": "the result, in the form that Accept asks for",
            **_KNOWN,
            "content": {
                JSON: {"schema": {"type": "object"}},
                PNG: {"schema": {"type": "string", "format": "binary"}},
                DICOM: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "404": {"description": "no such bundle"},
        "406": {"description": "Accept names no form that there is"},
        "413": {"description": "too many bytes or pixels"},
        "415": {"description": "no image"},
        "422": {"description": "an image that cannot be used, or a wrong parameter"},
        "501": {"description": "the server lacks a package that this request needs"},
        "503": {"description": "too many requests wait; try again"},
        "504": {"description": "it took too long"},
    },
}
_JSON_BODY = {
    "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}},
}
_JSON_RESULT = {**_JSON_BODY, "responses": {"200": {"description": "the result", **_KNOWN}}}


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        body_bytes: of a request; base64 in JSON may have a third more.
        threads: requests computed at once.
        waiting: further requests that wait.
        seconds: of a request, waiting included.
    """

    body_bytes: int = 64 * 2**20
    threads: int = 2
    waiting: int = 16
    seconds: float = 60.0


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        text: one line.
        headers: of the answer besides.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


def make_app(
    bundles: Sequence["Bundle"],
    limits: Limits = Limits(),
    *,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    page: Path | None = None,
    label_studio: str | None = None,
) -> Any:
    """Return the application.

    Args:
        bundles: for segmentation or detection.
        limits: of each request.
        hosts: names by which this machine may be addressed; "*" for any.
        page: a folder of static files, shown at /.
        label_studio: the address of the Label Studio whose images are fetched, with the token in
            LABEL_STUDIO_API_KEY.

    Raises:
        DentalzooError: FastAPI is not installed, or a bundle is for another task.
    """
    fastapi = require("fastapi", "serve")
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, Response
    from starlette.exceptions import HTTPException
    from starlette.staticfiles import StaticFiles

    served = {bundle.name: Served(bundle) for bundle in bundles}
    functions = {cvat_name(one): one for one in served.values()}
    slots = Slots(limits.threads, limits.waiting, limits.seconds)
    token = os.environ.get("LABEL_STUDIO_API_KEY")
    images = Images(label_studio, token, limits.body_bytes)
    schemas: dict[str, str] = {}
    app = fastapi.FastAPI(
        title="dentalzoo",
        version=__version__,
        description="Models for dental imaging, on this machine. Research only, not for diagnosis.",
        docs_url=None,  # its scripts lie on another host
        redoc_url=None,
    )
    Request = fastapi.Request

    def named(bundle: str) -> Served:
        if bundle not in served:
            raise Refused(404, f"bundle must be one of: {', '.join(served)}")
        return served[bundle]

    async def body_of(request: Any, most: int) -> bytes:
        content = bytearray()
        if int(request.headers.get("content-length") or 0) > most:
            raise Refused(413, f"a request must have at most {most:,} bytes")
        async for part in request.stream():
            content += part
            if len(content) > most:
                raise Refused(413, f"a request must have at most {most:,} bytes")
        return bytes(content)

    async def json_of(request: Any) -> dict[str, Any]:
        text = await body_of(request, limits.body_bytes * 4 // 3 + 2**16)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise Refused(422, "the body must be a JSON object")
        return content

    async def computed(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await slots.run(function, *arguments)
        except Busy:
            raise Refused(503, "too many requests wait; try again", {"Retry-After": "1"}) from None
        except Late:
            raise Refused(504, f"the result must be there within {slots.seconds:g} s") from None

    # ---- dentalzoo's own --------------------------------------------------------------------

    async def listed() -> Any:
        return {"bundles": [one.about() for one in served.values()]}

    async def healthy() -> Any:
        return {"status": "ok", "dentalzoo": __version__, "bundles": list(served)}

    async def infer(bundle: str, request: Request, score_threshold: float | None = None) -> Any:  # type: ignore[valid-type]
        one = named(bundle)
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise Refused(422, "score_threshold must be a number from 0 to 1")
        wanted = _accepted(request.headers.get("accept"))  # type: ignore[attr-defined]
        kind = request.headers.get("content-type", "").partition(";")[0]  # type: ignore[attr-defined]
        if kind.startswith(("multipart/", "application/x-www-form", "text/")):
            raise Refused(
                415,
                "the body must be the image itself, not a form: name it as Content-Type, such as "
                "image/png or application/dicom",
            )
        content = await body_of(request, limits.body_bytes)

        def work() -> tuple[bytes, dict[str, str]]:
            prediction = one.predict(content, score_threshold)
            if wanted == PNG:
                made = one.as_png(prediction)
            elif wanted == DICOM:
                made = one.as_dicom(prediction, content)
            else:
                made = json.dumps(one.as_json(prediction), ensure_ascii=False).encode()
            return made, _familiarity_header([prediction.familiarity])

        made, headers = await computed(work)
        return Response(made, media_type=wanted, headers=headers)

    # ---- Label Studio -----------------------------------------------------------------------

    async def studio_health(bundle: str) -> Any:
        return {"status": "UP", "model_class": named(bundle).name}

    async def studio_setup(bundle: str, request: Request) -> Any:  # type: ignore[valid-type]
        one, content = named(bundle), await json_of(request)
        text = str(content.get("schema") or content.get("label_config") or "")
        Labeling(text)  # a bad one must fail now
        schemas[one.name] = text
        return {"model_version": one.name}

    async def studio_predict(bundle: str, request: Request) -> Any:  # type: ignore[valid-type]
        one, content = named(bundle), await json_of(request)
        tasks = content.get("tasks")
        if not isinstance(tasks, list) or len(tasks) > _TASKS:
            raise Refused(422, f"tasks must be a list of at most {_TASKS} tasks")
        labeling = Labeling(str(content.get("label_config") or schemas.get(one.name, "")))

        def work(number: int, task: Any) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
            data = task.get("data") if isinstance(task, dict) else None
            reference = data.get(labeling.key) if isinstance(data, dict) else None
            prediction = one.predict(images.get(reference))
            result = label_studio_result(one, prediction, number, labeling)
            return result, prediction.familiarity

        done = [await computed(work, number, task) for number, task in enumerate(tasks)]
        content = {"results": [result for result, _ in done], "model_version": one.name}
        return JSONResponse(content, headers=_familiarity_header([known for _, known in done]))

    async def studio_webhook(bundle: str) -> Any:
        named(bundle)
        return JSONResponse({"result": "ok: this model does not learn"}, 201)

    # ---- CVAT -------------------------------------------------------------------------------

    async def cvat_functions() -> Any:
        return {name: cvat_function(one) for name, one in functions.items()}

    async def cvat_one(name: str) -> Any:
        if name not in functions:
            raise Refused(404, f"function must be one of: {', '.join(functions)}")
        return cvat_function(functions[name])

    async def cvat_call(request: Request) -> Any:  # type: ignore[valid-type]
        name = request.headers.get("x-nuclio-function-name", "")  # type: ignore[attr-defined]
        if name not in functions:
            raise Refused(404, f"x-nuclio-function-name must be one of: {', '.join(functions)}")
        content, one = await json_of(request), functions[name]
        threshold = content.get("threshold")
        if threshold is not None and not (
            isinstance(threshold, int | float) and 0 <= threshold <= 1
        ):
            raise Refused(422, "threshold must be a number from 0 to 1, or null")

        def work() -> tuple[list[dict[str, Any]], dict[str, str]]:
            prediction = one.predict(from_base64(content.get("image")), threshold)
            header = _familiarity_header([prediction.familiarity])
            return cvat_result(one, prediction), header

        shapes, headers = await computed(work)
        return JSONResponse(shapes, headers=headers)

    # ---- errors, identifiers, addresses ------------------------------------------------------

    def refusal(request: Any, status: int, text: str, headers: Mapping[str, str]) -> Any:
        content = {"error": " ".join(text.split()), "request": request.state.identifier}
        return JSONResponse(content, status, headers=dict(headers))

    async def on_error(request: Any, error: Exception) -> Any:
        if isinstance(error, Refused):
            return refusal(request, error.status, error.text, error.headers)
        if isinstance(error, HTTPException):
            return refusal(request, error.status_code, str(error.detail), error.headers or {})
        if isinstance(error, RequestValidationError):
            first = error.errors()[0]
            return refusal(request, 422, f"{first['loc'][-1]}: {first['msg']}", {})
        text = getattr(error, "reason", str(error))  # without the name of the file
        if isinstance(error, MissingPackage):
            text = text.partition(". Received: ")[0]
            _log.error("%s: a package is missing: %s", request.state.identifier, text)
            return refusal(request, 501, f"the server lacks a package: {text}", {})
        status = 415 if isinstance(error, UnknownKind) else 422
        status = 413 if isinstance(error, TooManyPixels) else status
        return refusal(request, status, text, {})

    async def around(request: Any, call: Callable[..., Any]) -> Any:
        request.state.identifier, start = secrets.token_hex(8), time.monotonic()
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        try:
            if "*" not in hosts and host not in hosts:
                response = refusal(request, 421, "Host must name this machine", {})
            else:
                response = await call(request)
        except Exception as error:  # whatever it is, its text may hold what was sent
            _log.error("%s: %s", request.state.identifier, type(error).__name__)
            response = refusal(request, 500, "an error of the server", {})
        response.headers["X-Content-Type-Options"] = "nosniff"
        checks = healthy, studio_health
        if request.scope.get("endpoint") in checks and response.status_code == 200:
            return response  # a line for each would fill the log: so they have no identifier
        response.headers["X-Request-ID"] = request.state.identifier
        milliseconds = 1000 * (time.monotonic() - start)
        _log.info(
            "%s %s %d %.0f ms",
            request.state.identifier,
            request.method,
            response.status_code,
            milliseconds,
        )
        return response

    app.middleware("http")(around)
    for kind in (Refused, DentalzooError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, on_error)
    get, post = ["GET"], ["POST"]
    add = app.add_api_route
    add("/v1", listed, methods=get, summary="List the bundles")
    add("/healthz", healthy, methods=get, summary="Whether the server answers")
    add(
        "/v1/{bundle}",
        infer,
        methods=post,
        summary="Apply a bundle to an image",
        openapi_extra=_IMAGE_BODY,
        response_class=Response,
    )
    studio = "/label-studio/{bundle}"
    more: dict[str, Any] = {"tags": ["Label Studio"]}
    add(f"{studio}/health", studio_health, methods=get, **more)
    add(f"{studio}/", studio_health, methods=get, include_in_schema=False)
    add(f"{studio}/setup", studio_setup, methods=post, openapi_extra=_JSON_BODY, **more)
    add(f"{studio}/predict", studio_predict, methods=post, openapi_extra=_JSON_RESULT, **more)
    add(f"{studio}/webhook", studio_webhook, methods=post, **more)
    more = {"tags": ["CVAT"]}
    add("/api/functions", cvat_functions, methods=get, **more)
    add("/api/functions/{name}", cvat_one, methods=get, **more)
    add("/api/function_invocations", cvat_call, methods=post, openapi_extra=_JSON_RESULT, **more)
    if page is not None:
        if not (page / "index.html").is_file():
            raise DentalzooError(
                "--page must be a folder with index.html, which `make page` writes to out/page. "
                f"Received: {page}"
            )
        app.mount("/", StaticFiles(directory=page, html=True))
    return app


def _familiarity_header(entries: Sequence[Mapping[str, Any] | None]) -> dict[str, str]:
    """Return the header that says whether a bundle knows images; none for no image.

    Args:
        entries: what `tasks.familiarity.Familiarity` returned of each image, None where the bundle
            cannot tell; the largest score counts.
    """
    if not entries:
        return {}
    known = [entry for entry in entries if entry]
    if not known:
        return {_FAMILIARITY: "unknown"}
    worst = max(known, key=lambda entry: float(entry["score"]))
    return {_FAMILIARITY: f"{worst['verdict']}; score={worst['score']:.2f}; bound=1"}


def _accepted(header: str | None) -> str:
    """Return the form of the result that an Accept header asks for first.

    Raises:
        Refused: it names none that there is.
    """
    choices = []
    for position, part in enumerate((header or "*/*").split(",")):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if quality > 0:
            choices.append((-quality, position, kind))
    for _, _, kind in sorted(choices):
        for known in _RETURNS:
            if kind in (known, "*/*", f"{known.partition('/')[0]}/*"):
                return known
    raise Refused(406, f"Accept must name one of: {', '.join(_RETURNS)}")
