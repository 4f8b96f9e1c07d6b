"""Answers of registered models, by the edge runtime, and those that were given before."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from nightshift.dashboard.api.models import Asked, VersionNumber
from nightshift.dashboard.auth import Viewer
from nightshift.dashboard.examples import example
from nightshift.dashboard.history import KEPT, Prediction, PredictionDetails, details_of
from nightshift.dashboard.models import ModelId
from nightshift.dashboard.predictions import MAX_BYTES, Answer, PredictRequest
from nightshift.dashboard.service import Service, Svc

router = APIRouter(prefix="/api", tags=["predictions"])

CSV = "text/csv"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": PredictRequest.model_json_schema()},
            CSV: {"schema": {"type": "string", "description": "header line, rows oldest first"}},
        },
    }
}


class PredictionsAnswer(BaseModel):
    """Predictions, newest first.

    Attributes:
        total: that are kept of what was asked for.
    """

    total: int
    predictions: list[Prediction]


@router.post("/predict/{machine}/{family}", openapi_extra=_BODY)
async def predict(
    service: Svc, user: Viewer, asked: Asked, request: Request, version: VersionNumber | None = None
) -> Answer:
    """Answer rows with a machine's model: JSON, or a CSV file as it is; the champion unless a version is named."""
    body = await read_body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return await run_in_threadpool(_predict, service, user.name, asked, version, body, kind)


async def read_body(request: Request) -> bytes:
    """Return a request's body; a longer one is not read to its end."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BYTES:
            raise HTTPException(
                413, f"The rows are more than the {MAX_BYTES // 1_000_000} MB that one request may bring."
            )
        pieces.append(piece)
    return b"".join(pieces)


def _predict(service: Service, user: str, asked: ModelId, version: int | None, body: bytes, kind: str) -> Answer:
    predictor = service.predictor
    ready = predictor.ready(asked, version)
    if kind == CSV:
        answer, rows = predictor.answer_csv(ready, body)
    else:
        answer, rows = predictor.answer_rows(ready, _request(body))
    columns = tuple(column.name for column in ready.model.interface.columns)
    return answer.model_copy(update={"id": predictor.history.keep(details_of(user, answer, rows, columns))})


def _request(body: bytes) -> PredictRequest:
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        # Of rows that are all wrong the first says enough.
        first = error.errors(include_url=False, include_input=False)[0]
        raise RequestValidationError([{**first, "loc": ("body", *first["loc"])}]) from None


@router.get("/predict/{machine}/{family}/example", response_class=Response, responses={200: {"content": {CSV: {}}}})
def example_rows(service: Svc, _user: Viewer, asked: Asked, version: VersionNumber | None = None) -> Response:
    """Return a CSV of the columns that a model takes: the last known rows of its machine."""
    manifest = service.predictor.ready(asked, version).model.manifest
    name = f"{asked.machine}_{asked.family}_example.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(example(service.home, manifest).csv(), media_type=CSV, headers=headers)


@router.get("/predictions")
def predictions(
    service: Svc,
    _user: Viewer,
    machine: Annotated[str, Query(max_length=64)] = "",
    family: Annotated[str, Query(max_length=64)] = "",
    offset: Annotated[int, Query(ge=0, le=KEPT)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> PredictionsAnswer:
    """List the predictions that were made here, newest first."""
    found, total = service.predictor.history.page(machine, family, offset=offset, limit=limit)
    return PredictionsAnswer(total=total, predictions=found)


@router.get("/predictions/{number}")
def prediction(service: Svc, _user: Viewer, number: VersionNumber) -> PredictionDetails:
    """Return a prediction with the beginnings of what was given and said."""
    return service.predictor.history.find(number)
