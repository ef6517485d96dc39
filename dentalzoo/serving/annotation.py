"""Requests and answers of annotation tools: Label Studio's ML backend, CVAT's Nuclio functions."""

import base64
import binascii
import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from dentalzoo.data.formats.label_studio.writer import regions_of
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.serving.inference import Prediction, Served

_SECONDS = 30  # ours: for an image that Label Studio keeps
_CONTROLS = {"rectanglelabels", "polygonlabels", "brushlabels"}

# ---- Label Studio --------------------------------------------------------------------------------


class Images:
    """Gets the images of tasks: those in the request, and those of one Label Studio.

    Args:
        address: of Label Studio, such as http://localhost:8080; None: only images in the request.
        token: its access token.
        most: bytes of an image.
    """

    def __init__(self, address: str | None, token: str | None, most: int) -> None:
        self._address, self._token, self._most = address, token, most

    def get(self, reference: object) -> bytes:
        """Return the content of an image file.

        Args:
            reference: a data: address, or an address or path of the one Label Studio.

        Raises:
            DentalzooError: it is another one, or cannot be had.
        """
        if isinstance(reference, str) and reference.startswith("data:"):
            return from_base64(reference.partition(",")[2])
        if not self._address:
            raise DentalzooError(
                "images of tasks must be data: addresses, or --label-studio must name the Label "
                f"Studio that has them. Received: {_short(reference)}"
            )
        place = urljoin(self._address, reference) if isinstance(reference, str) else ""
        if _origin(place) != _origin(self._address):
            raise DentalzooError(
                f"images of tasks must lie on {self._address}. Received: {_short(reference)}"
            )
        headers = {"Authorization": f"Token {self._token}"} if self._token else {}
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            request = urllib.request.Request(place, headers=headers)
            with opener.open(request, timeout=_SECONDS) as answer:
                content: bytes = answer.read(self._most + 1)
        except (OSError, ValueError) as error:
            raise DentalzooError(
                f"the image of a task cannot be had from Label Studio. Received: {error}"
            ) from error
        if len(content) > self._most:
            raise DentalzooError(f"the image of a task must have at most {self._most} bytes")
        return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """Follow none: it could lead to another host."""


class Labeling:
    """A labeling configuration of Label Studio: which tag takes which kind of region.

    Args:
        text: the XML; empty for names as `dentalzoo convert` writes them.

    Raises:
        DentalzooError: it is no labeling configuration.
    """

    def __init__(self, text: str = "") -> None:
        self.controls: dict[str, tuple[str, str, set[str]]] = {}
        self.key = "image"
        if not text:
            return
        if "<!" in text.replace("<!--", ""):
            raise DentalzooError("label_config must have no document type")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise DentalzooError(f"label_config must be XML. Received: {error}") from error
        for tag in root.iter():
            kind = tag.tag.lower()
            if kind == "image":
                self.key = tag.get("value", "$image").lstrip("$")
            elif kind in _CONTROLS:
                labels = {label.get("value", "") for label in tag.iter("Label")}
                self.controls[kind] = tag.get("name", ""), tag.get("toName", ""), labels
        if not self.controls:
            raise DentalzooError(
                "label_config must have RectangleLabels, PolygonLabels or BrushLabels. "
                "Received: none of them"
            )

    def fitted(self, regions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the regions that the configuration has a tag and a label for, with its names."""
        if not self.controls:
            return [dict(region) for region in regions]
        kept = []
        for region in regions:
            control = self.controls.get(region["type"])
            if control and set(region["value"][region["type"]]) <= control[2]:
                kept.append({**region, "from_name": control[0], "to_name": control[1]})
        return kept


def label_studio_result(
    served: "Served", prediction: "Prediction", task: int, labeling: Labeling
) -> dict[str, Any]:
    """Return the prediction of a task.

    Raises:
        DentalzooError: the configuration has no tag or no label for anything that was found.
    """
    height, width = prediction.image.shape[:2]
    found = served.objects(prediction)
    regions = regions_of(found, task, (height, width))
    regions = [region for region in regions if "from_name" in region]
    fitted = labeling.fitted(regions)
    if regions and not fitted:
        kinds = ", ".join(sorted({region["type"] for region in regions}))
        raise DentalzooError(
            f"label_config must have {kinds} with some of: {', '.join(served.classes)}. "
            f"Received: {', '.join(labeling.controls)}"
        )
    scores = [region["score"] for region in fitted if "score" in region]
    score = sum(scores) / len(scores) if scores else 0.0
    return {"result": fitted, "score": score, "model_version": served.name}


# ---- CVAT ----------------------------------------------------------------------------------------


def cvat_function(served: "Served") -> dict[str, Any]:
    """Return a bundle as Nuclio's dashboard describes a function to CVAT."""
    shape = "rectangle" if served.task == "detection" else "polygon"
    spec = [
        {"id": number, "name": name, "type": shape}
        for number, name in enumerate(served.classes, start=1)
    ]
    name = cvat_name(served)
    return {
        "metadata": {
            "name": name,
            "namespace": "nuclio",
            "labels": {"nuclio.io/project-name": "cvat"},
            "annotations": {
                "name": served.name,
                "type": "detector",
                "framework": "dentalzoo",
                "spec": json.dumps(spec),
            },
        },
        "spec": {"description": f"{served.name}. Research only, not for diagnosis."},
        "status": {"state": "ready"},
    }


def cvat_name(served: "Served") -> str:
    """Return the name of a function, which holds neither dots nor underlines."""
    return served.name.replace(".", "-").replace("_", "-").lower()


def cvat_result(served: "Served", prediction: "Prediction") -> list[dict[str, Any]]:
    """Return the shapes that were found, as a detector of CVAT returns them."""
    height, width = prediction.image.shape[:2]
    shapes = []
    for box in served.objects(prediction):
        common = {"label": box.label, "confidence": f"{1.0 if box.score is None else box.score}"}
        if isinstance(box.outline, tuple):
            shapes += [
                {**common, "type": "polygon", "points": list(points)} for points in box.outline
            ]
            continue
        edges = box.left * width, box.top * height, box.right * width, box.bottom * height
        shapes.append({**common, "type": "rectangle", "points": [round(e, 2) for e in edges]})
    return shapes


def from_base64(text: object) -> bytes:
    """Return what base64 holds.

    Raises:
        DentalzooError: it is none.
    """
    try:
        return base64.b64decode(text if isinstance(text, str) else "-", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DentalzooError("the image must be base64. Received: something else") from error


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port


def _short(value: object) -> str:
    return repr(value)[:60]
