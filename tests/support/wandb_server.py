"""As much of W&B's server as `wandb sync` and online runs need: it answers, and remembers what it was told."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a" * 40
"""An API key of the right form."""


class Told:
    """What the server was told: `rows` of histories by run, `used` and `made` artifacts by run (type, name)."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.artifacts: dict[str, tuple[str, str]] = {}
        self.used: list[tuple[str, str]] = []

    def stream(self, path: str, content: dict[str, Any]) -> None:
        history = (content.get("files") or {}).get("wandb-history.jsonl")
        if history:
            self.rows.setdefault(path.split("/")[-2], []).extend(map(json.loads, history["content"]))

    def answer(self, operation: str, given: dict[str, Any], url: str) -> dict[str, Any]:
        """What GraphQL is answered with; an operation that is not known here with nothing."""
        told = given.get("input") or given
        if operation == "CreateArtifact":
            name = f"artifact{len(self.artifacts)}"
            names = told.get("artifactCollectionNames") or [told.get("artifactCollectionName")]
            self.artifacts[name] = told.get("artifactTypeName"), names[0]
            sequence = {"id": "s", "latestArtifact": None}
            return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": sequence}}}
        if operation == "UseArtifact":
            self.used.append(self.artifacts[told["artifactID"]])
            return {"useArtifact": {"artifact": {"id": told["artifactID"]}}}
        if operation == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": told["artifactID"], "digest": "x"}}}
        place = {"uploadUrl": f"{url}/put", "uploadHeaders": []}
        manifest = {"artifactManifest": {"id": "m", "file": {"id": "f", "name": "m", "displayName": "m", **place}}}
        project = {"id": "p", "name": "bmae_lightning", "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": told.get("name"), "displayName": "", "config": "{}", "project": project}
        files = [{"name": name, **place} for name in told.get("files") or []]
        return {
            "UpsertBucket": {"upsertBucket": {"bucket": bucket, "inserted": True}},
            "RunResumeStatus": {"model": project | {"bucket": None}},
            "CreateArtifactManifest": {"createArtifactManifest": manifest},
            "CreateArtifactFiles": {"createArtifactFiles": {"files": {"edges": []}}},
            "CreateRunFiles": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}},
            "Viewer": {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}},
            "ArtifactType": {"project": {"artifact": None}},
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
        }.get(operation, {})


@contextmanager
def wandb_server() -> Iterator[tuple[str, Told]]:
    """The address of a running server, and what it is told."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            if self.path.endswith("/graphql"):
                asked = json.loads(content)
                url = f"http://127.0.0.1:{server.server_port}"
                operation = asked.get("operationName") or re.search(r"(?:query|mutation) (\w+)", asked["query"])[1]
                self.reply({"data": told.answer(operation, asked.get("variables") or {}, url)})
                return
            if self.path.endswith("/file_stream"):
                told.stream(self.path, json.loads(content))
            self.reply({})

        do_PUT = do_GET = do_POST

        def reply(self, content: dict[str, Any]) -> None:
            encoded = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", told
    finally:
        server.shutdown()
