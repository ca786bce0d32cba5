"""The OpenAPI description: what the framework generates, without answers that this API never gives."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from syftnotify.web.problems import Problem


def add_schema(app: FastAPI) -> None:
    """Replace the generated description of `app`."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            for path in found["paths"].values():
                for operation in path.values():
                    _drop_validation_errors(operation)
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas["Problem"] = Problem.model_json_schema()
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign] # the framework's way to replace it


def _drop_validation_errors(operation: dict[str, Any]) -> None:
    """The framework declares 422 for mistakes in a request; here they are 400."""
    answer = operation["responses"].get("422", {})
    if "HTTPValidationError" in str(answer):
        del operation["responses"]["422"]
