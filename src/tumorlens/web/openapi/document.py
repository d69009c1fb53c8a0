"""The API's description (OpenAPI 3.1), made from the types in `models`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report import words
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import OverlayKind
from tumorlens.settings import Settings
from tumorlens.taxonomy import CLASSES, TumorClass
from tumorlens.web.idempotency import HEADER
from tumorlens.web.openapi.models import (
    Failure,
    Feedback,
    FeedbackForm,
    Health,
    PictureForm,
    Prediction,
    PredictionList,
    Predictions,
    Problem,
    Scan,
    ScanFinding,
    ScanForm,
    ScanList,
    StudyFinding,
)

Json = dict[str, Any]

_COMPONENTS = (
    Prediction,
    PredictionList,
    Predictions,
    Feedback,
    Failure,
    Problem,
    Scan,
    ScanFinding,
    ScanList,
    StudyFinding,
    Health,
)
_OF_PREDICTIONS = (
    "showPrediction",
    "markPrediction",
    "unmarkPrediction",
    "pinPrediction",
    "unpinPrediction",
    "evidence",
    "gradcam",
    "overlay",
    "report",
    "deletePrediction",
)
_OF_SCANS = (
    "showScan",
    "followScan",
    "showStudy",
    "studyEvidence",
    "scanReport",
    "pinScan",
    "unpinScan",
    "deleteScan",
)
_OF_SERIES = ("showScanFinding", "markScanFinding", "unmarkScanFinding", "scanEvidence")
"""Operations on what an upload has made, by the names of `_operation`."""

_REFERENCE = "#/components/schemas/{model}"


class _Schemas(GenerateJsonSchema):
    """Schemas whose fields have no titles, which would only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401
        return False


def openapi_document(bundle: Bundle, settings: Settings) -> Json:
    """Describe the API of this server.

    Parameters
    ----------
    bundle
        The model, which has the operating points.
    settings
        The limits, and how long results are kept.

    Returns
    -------
    dict
        Plain JSON values.
    """
    _, schemas = models_json_schema(
        [
            *((model, "serialization") for model in _COMPONENTS),
            # What is sent may leave out what has a default.
            (FeedbackForm, "validation"),
        ],
        ref_template=_REFERENCE,
        schema_generator=_Schemas,
    )
    if bundle.has_own_classes:
        _name_own_classes(schemas["$defs"], [item.value for item in bundle.classes])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TumorLens",
            "version": "1",
            "description": " ".join(
                (RESEARCH_USE, *_weights_sentence(bundle)),
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            **_with_common_answers(_prediction_paths(bundle, settings)),
            **_with_common_answers(_scan_paths(bundle, settings)),
            **_server_paths(),
        },
        # A log-in is asked for once somebody has made a token.
        "security": [{}, {"token": []}],
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _name_own_classes(schemas: Json, names: list[str]) -> None:
    """Put a user's own classes in the place of the four, wherever schemas name them."""
    four = [name.value for name in CLASSES]
    waiting: list[Any] = [schemas]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.values() if isinstance(node, dict) else node)
        waiting = [item for item in waiting if isinstance(item, dict | list)]
        if not isinstance(node, dict):
            continue
        if set(four) & set(node.get("enum", ())):
            others = [item for item in node["enum"] if item not in four]
            # A decision says so of all classes that are free of a tumour.
            clear = TumorClass.NO_TUMOR.value
            node["enum"] = list(dict.fromkeys([*names, clear, *others]))
        if node.get("required") == four:
            share = node["properties"][four[0]]
            node["required"], node["properties"] = names, dict.fromkeys(names, share)
    for model in ("Prediction", "ScanFinding", "StudyFinding"):
        schemas[model]["properties"]["tumor_classes"] = {
            "type": "array",
            "items": {"enum": names},
            "description": "Which of the model's own classes are tumours.",
        }
    for model in ("Feedback", "FeedbackForm"):
        finding = schemas[model]["properties"]["finding"]
        finding["anyOf"] = [{"enum": names}, {"type": "null"}]
    schemas["Feedback"]["properties"]["classes"] = {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in names},
        "description": "Beside a finding, the model's own classes, and whether each "
        "is a tumour.",
    }
    # Of a series in which nothing was judged there are no classes.
    schemas["Prediction"]["required"].append("tumor_classes")


def _weights_sentence(bundle: Bundle) -> tuple[str, ...]:
    """Name where it stands what the weights rest on, if it is stated."""
    if bundle.weights_licence() is None:
        return ()
    return (
        f"The weights of {bundle.name} {bundle.version} have a licence of their own: "
        "/weights-licence.",
    )


def _with_common_answers(paths: Json) -> Json:
    """Add the answers that any request may get."""
    for item in paths.values():
        for method, operation in item.items():
            if method == "parameters":
                continue
            responses = operation["responses"]
            responses.setdefault("401", _json("A log-in is asked for.", Problem))
            responses.setdefault("403", _json("The token does not allow it.", Problem))
            responses.setdefault("503", _refusal("The server is busy.", Problem))
            if method == "get":
                responses["304"] = {"description": "Not changed since (If-None-Match)."}
    return paths


def _list(name: str, summary: str, model: type[BaseModel]) -> Json:
    """Describe a list that comes page by page."""
    most = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    parameters = [
        {"name": "limit", "in": "query", "schema": most},
        {"name": "after", "in": "query", "schema": {"type": "string"}},
        {
            "name": "pinned",
            "in": "query",
            "schema": {"type": "boolean", "default": False},
            "description": "Only what is pinned.",
        },
    ]
    responses = {
        "200": _json(f"{summary}.", model),
        "400": _json("No such limit, or 'pinned' is neither.", Problem),
        "404": _json("What the page begins after is not there any more.", Problem),
        "405": _json("There is no log-in, and so nobody whose they are.", Problem),
    }
    return _operation(name, summary, responses, parameters=parameters)


def _prediction_paths(bundle: Bundle, settings: Settings) -> Json:
    one = "/api/v1/predictions/{id}"
    id_ = _path_parameter("id", {"type": "string"}, "As the prediction says.")
    gone = {"404": _json("No such prediction, or its time is over.", Problem)}

    def picture(name: str, summary: str) -> Json:
        responses = {"200": _file(f"{summary}.", "image/png"), **gone}
        return {"parameters": [id_], "get": _operation(name, summary, responses)}

    overlay = picture("overlay", "The picture with an overlay")
    overlay["parameters"].append(_overlay_parameter())
    overlay["get"]["responses"]["422"] = _json("No such overlay.", Problem)
    report = "Report of one A4 page"
    return {
        "/api/v1/predictions": {
            "get": _list(
                "listPredictions",
                "Predictions of who is logged in, the newest first",
                PredictionList,
            ),
            "post": _operation(
                "predict",
                "Judge one or several pictures",
                {
                    "200": {
                        **_json("At least one file could be judged.", Predictions),
                        "links": _links("/predictions/0/id", _OF_PREDICTIONS),
                    },
                    **_upload_refusals(),
                    "422": _json(
                        "No file was sent, none could be judged, or the key was sent "
                        "with other files.",
                        Predictions,
                        Problem,
                    ),
                    "500": _json(
                        "The server's fault; its log says more.", Predictions, Problem
                    ),
                    "503": _refusal(
                        "As many uploads wait as may wait, or the time is over.",
                        Predictions,
                        Problem,
                    ),
                    "507": _json("The disk is full.", Predictions, Problem),
                },
                parameters=[_idempotency_key()],
                description=f"At most {settings.upload_mb} MB and "
                f"{settings.files_per_upload} files. Pictures and results are removed "
                f"after {words.minutes(settings.retention_minutes)}, unless pinned. "
                "A file of several slices gives one prediction for each.",
                requestBody=_form(
                    PictureForm, settings.files_per_upload, bundle, settings
                ),
            ),
        },
        one: {
            "parameters": [id_],
            "get": _operation(
                "showPrediction",
                "A prediction again",
                {"200": _json("The prediction.", Prediction), **gone},
            ),
            "delete": _operation(
                "deletePrediction",
                "Remove a prediction and its pictures at once",
                {"204": {"description": "Removed."}, **gone},
            ),
        },
        f"{one}/feedback": {
            "parameters": [id_],
            "put": _feedback("markPrediction", "a prediction", gone),
            "delete": _operation(
                "unmarkPrediction",
                "Take back what was said of a prediction",
                {"204": {"description": "Taken back."}, **gone},
            ),
        },
        f"{one}/pin": {"parameters": [id_], **_pin("Prediction", "a prediction", gone)},
        f"{one}/evidence.png": picture(
            "evidence", "Evidence map, 8-bit grey: 0 to 255 for 0 to 1"
        ),
        f"{one}/gradcam.png": picture(
            "gradcam", "Grad-CAM map, 8-bit grey: 0 to 255 for 0 to 1"
        ),
        f"{one}/overlay.png": overlay,
        f"{one}/report.pdf": {
            "parameters": [id_],
            "get": _operation(
                "report",
                report,
                {"200": _file(f"{report}.", "application/pdf"), **gone},
            ),
        },
    }


def _scan_paths(bundle: Bundle, settings: Settings) -> Json:
    one = "/api/v1/scans/{id}"
    series = f"{one}/series/{{index}}"
    id_ = _path_parameter("id", {"type": "string"}, "As the answer to the upload says.")
    index = _path_parameter(
        "index", {"type": "integer", "minimum": 0}, "Of the series, from 0."
    )
    gone = {"404": _json("No such scan, or its time is over.", Problem)}
    waits = {"409": _json("It is not judged yet, or never was.", Problem)}
    accepted = {
        **_json("Taken; it waits for its turn.", Scan),
        "headers": {
            "Location": {
                "description": "Where to ask how far it is.",
                "schema": {"type": "string", "format": "uri-reference"},
            }
        },
        "links": _links("/id", _OF_SCANS) | _links("/id", _OF_SERIES, index="0"),
    }
    return {
        "/api/v1/scans": {
            "get": _list(
                "listScans", "Scans of who is logged in, the newest first", ScanList
            ),
            "post": _operation(
                "createScan",
                "Have a whole scan judged in the background",
                {
                    "202": accepted,
                    **_upload_refusals(),
                    "422": _json(
                        "No file was sent, or the key was sent with other files.",
                        Problem,
                    ),
                    "500": _json("It cannot be kept; the message says why.", Problem),
                    "503": _refusal(
                        "Too many scans are waiting, or too large ones.", Problem
                    ),
                },
                parameters=[_idempotency_key()],
                description=f"At most {settings.scan_mb} MB. The answer comes before "
                "anything is read: ask at its address until the state is 'done', "
                "'failed' or 'stopped'. Files, pictures and results are removed "
                f"{words.minutes(settings.retention_minutes)} after they were sent.",
                requestBody=_form(ScanForm, MAX_ENTRIES, bundle, settings),
            ),
        },
        one: {
            "parameters": [id_],
            "get": _operation(
                "showScan",
                "How far a scan is, and its series",
                {"200": _json("The scan's state.", Scan), **gone},
            ),
            "delete": _operation(
                "deleteScan",
                "Stop judging a scan, and remove it, its files and its pictures' "
                "predictions at once",
                {"204": {"description": "Removed."}, **gone},
            ),
        },
        f"{one}/pin": {
            "parameters": [id_],
            **_pin("Scan", "a scan and its pictures", gone, waits),
        },
        f"{one}/events": {
            "parameters": [id_],
            "get": _operation(
                "followScan",
                "Each change of a scan's status as it comes, until it is over",
                {
                    "200": _file(
                        "Server-sent events 'status' with the same JSON as the scan.",
                        "text/event-stream",
                    ),
                    **gone,
                },
            ),
        },
        series: {
            "parameters": [id_, index],
            "get": _operation(
                "showScanFinding",
                "The finding of a series",
                {
                    "200": _json("The finding.", ScanFinding),
                    "404": _json("No such scan or series.", Problem),
                    **waits,
                },
            ),
        },
        f"{series}/feedback": {
            "parameters": [id_, index],
            "put": _feedback(
                "markScanFinding",
                "the finding of a series",
                {"404": _json("No such scan or series.", Problem), **waits},
            ),
            "delete": _operation(
                "unmarkScanFinding",
                "Take back what was said of a series",
                {
                    "204": {"description": "Taken back."},
                    "404": _json("No such scan or series.", Problem),
                    **waits,
                },
            ),
        },
        f"{series}/evidence.nii.gz": {
            "parameters": [id_, index],
            "get": _operation(
                "scanEvidence",
                "Where tumour was seen, as NIfTI in the series' space",
                {
                    "200": _file(
                        "Voxels of uint8, scaled to 0 to 1; mm, RAS. Where the scan's "
                        "file states no place, neither does this.",
                        "application/gzip",
                    ),
                    "404": _json(
                        "No such scan or series, its slices are no regular stack, or "
                        "nothing in it could be judged.",
                        Problem,
                    ),
                    **waits,
                },
            ),
        },
        f"{one}/study": {
            "parameters": [id_],
            "get": _operation(
                "showStudy",
                "The finding of all series of a scan together",
                {
                    "200": _json("The finding.", StudyFinding),
                    "404": _json(
                        "No such scan, or its series were not judged together; the "
                        "message says why.",
                        Problem,
                    ),
                    **waits,
                },
            ),
        },
        f"{one}/study/evidence.nii.gz": {
            "parameters": [id_],
            "get": _operation(
                "studyEvidence",
                "Where all series together show tumour, as NIfTI over one of them",
                {
                    "200": _file(
                        "Voxels of uint8, scaled to 0 to 1; mm, RAS.",
                        "application/gzip",
                    ),
                    "404": _json("No such scan, or no such evidence.", Problem),
                    **waits,
                },
            ),
        },
        f"{one}/report.pdf": {
            "parameters": [id_],
            "get": _operation(
                "scanReport",
                "The findings of all series as a PDF",
                {
                    "200": _file(
                        "A4 pages; each series from a new page on.", "application/pdf"
                    ),
                    "404": _json(
                        "No such scan, or it ended before all was judged.", Problem
                    ),
                    "409": _json("It is still being judged.", Problem),
                },
            ),
        },
    }


def _server_paths() -> Json:
    this = {
        "description": "OpenAPI 3.1.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    health = "200 while the server answers at all"
    readiness = "200 where work can be taken: model, store, room on its disk"
    metrics = "Metrics in Prometheus' text format"
    return {
        "/api/v1/openapi.json": {
            "get": _operation("describe", "This document", {"200": this})
        },
        "/healthz": {
            "get": _operation("health", health, {"200": _json(f"{health}.", Health)})
        },
        "/readyz": {
            "get": _operation(
                "readiness",
                readiness,
                {
                    "200": _json(f"{readiness}.", Health),
                    "503": _json("It cannot; the status says why.", Health),
                },
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics",
                metrics,
                {
                    "200": _file(f"{metrics}.", "text/plain"),
                    "401": _json("A log-in is asked for.", Problem),
                    "403": _json("The token does not allow it.", Problem),
                    "404": _json("They are off.", Problem),
                },
            )
        },
    }


def _operation(name: str, summary: str, responses: Json, **more: object) -> Json:
    return {"operationId": name, "summary": summary, **more, "responses": responses}


def _json(description: str, *models: type[BaseModel]) -> Json:
    """Describe an answer in JSON, of one of these types."""
    schemas = [{"$ref": _REFERENCE.format(model=model.__name__)} for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    content = {"application/json": {"schema": schema}}
    if Problem in models:
        problem = {"$ref": _REFERENCE.format(model=Problem.__name__)}
        content["application/problem+json"] = {"schema": problem}
    return {"description": description, "content": content}


def _links(place: str, names: Iterable[str], **parameters: str) -> Json:
    """Lead from an answer to what can be done with what it has made.

    Parameters
    ----------
    place
        Where the answer says the id, as a JSON pointer.
    names
        Names of the operations.
    parameters
        Further parameters of theirs.
    """
    id_ = {"id": f"$response.body#{place}"}
    return {
        name: {"operationId": name, "parameters": {**id_, **parameters}}
        for name in names
    }


def _refusal(description: str, *models: type[BaseModel]) -> Json:
    """Describe an answer after which to try again."""
    retry = {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    }
    return {**_json(description, *models), "headers": {"Retry-After": retry}}


def _file(description: str, media: str) -> Json:
    """Describe an answer that is a file."""
    return {"description": description, "content": {media: {}}}


def _path_parameter(name: str, schema: Json, description: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema,
        "description": description,
    }


def _overlay_parameter() -> Json:
    kinds = [kind.value for kind in OverlayKind]
    schema = {"type": "string", "enum": kinds, "default": kinds[0]}
    return {"name": "kind", "in": "query", "schema": schema}


def _form(
    model: type[BaseModel], most_files: int, bundle: Bundle, settings: Settings
) -> Json:
    """Describe an upload: the type of its form, and what this server takes of it."""
    schema = model.model_json_schema(schema_generator=_Schemas)
    file, point = (schema["properties"][name] for name in ("file", "operating_point"))
    file["maxItems"] = most_files
    point["enum"] = list(bundle.operating_points)
    point["default"] = settings.operating_point or bundle.default_operating_point
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _upload_refusals() -> Json:
    """Describe the answers that an upload of either kind may get."""
    return {
        "400": _json("No such operating point.", Problem),
        "403": _json(
            "Sent by a page of another site, or through a proxy without a log-in.",
            Problem,
        ),
        "413": _json("The upload passes a limit.", Problem),
        "429": _refusal("This client has as much under way as it may have.", Problem),
        "507": _json("The disk is full.", Problem),
    }


def _feedback(name: str, what: str, refusals: Json) -> Json:
    """Describe how a reader marks a result."""
    form = {"$ref": _REFERENCE.format(model=FeedbackForm.__name__)}
    return _operation(
        name,
        f"Say whether {what} is right, and what the picture shows",
        {
            "200": _json("The mark.", Feedback),
            **refusals,
            "422": _json("It says neither, or contradicts itself.", Problem),
        },
        requestBody={
            "required": True,
            "content": {"application/json": {"schema": form}},
        },
    )


def _pin(name: str, what: str, gone: Json, more: Json | None = None) -> Json:
    """Describe how a result is kept until it is unpinned, and no longer."""
    return {
        "put": _operation(
            f"pin{name}",
            f"Keep {what} until unpinned",
            {
                "204": {"description": "Pinned."},
                **gone,
                **(more or {}),
                "429": _refusal("As many results are pinned as may be.", Problem),
                "507": _json("Pinned results take all their room.", Problem),
            },
        ),
        "delete": _operation(
            f"unpin{name}",
            f"Let {what} go by age again",
            {"204": {"description": "Unpinned."}, **gone},
        ),
    }


def _idempotency_key() -> Json:
    return {
        "name": HEADER,
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "The same key with the same files gets the same answer again, "
        "as long as results are kept; with other files it is refused (422).",
    }
