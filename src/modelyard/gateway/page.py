"""`/docs`: a page that shows the API, without any asset from outside."""

from __future__ import annotations

from pathlib import Path

import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Modelyard API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, defaultModelsExpandDepth: 0})
</script>
</body>
</html>
"""


def routes() -> list[Route | Mount]:
    """The page, and the viewer's own files from its Python package."""
    (folder,) = (Path(swagger_ui_bundle.__file__).parent / "vendor").iterdir()
    return [Route("/docs", show), Mount("/docs/assets", StaticFiles(directory=folder))]


async def show(request: Request) -> Response:
    """Answers GET /docs."""
    return HTMLResponse(_PAGE)
