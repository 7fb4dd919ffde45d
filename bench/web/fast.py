"""The same small answer by FastAPI: no guard, no metrics, no log."""

from fastapi import FastAPI, Response

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
BODY = b"x" * 1024


@app.get("/hot")
async def small() -> Response:
    """1 KiB from memory."""
    return Response(BODY, media_type="text/plain")
