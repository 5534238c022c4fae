"""InfluxDB's v2 interface as far as the platform uses it, in front of genuine VictoriaMetrics: tokens with permissions
are kept here, the points that a token may write go on."""

import json
import os
import pathlib
import re
import secrets
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ORG, BUCKET = os.environ["DOCKER_INFLUXDB_INIT_ORG"], os.environ["DOCKER_INFLUXDB_INIT_BUCKET"]
with open(os.environ["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE"]) as file:
    ADMIN = file.read().strip()
ORG_ID, BUCKET_ID = "0a0a0a0a0a0a0a0a", "0b0b0b0b0b0b0b0b"
STORE = "http://127.0.0.1:8428"
KEPT = pathlib.Path("/var/lib/influxdb2/authorizations.json")
authorizations = json.loads(KEPT.read_text()) if KEPT.exists() else {}


def keep():
    new = KEPT.with_suffix(".new")
    new.write_text(json.dumps(authorizations))
    new.rename(KEPT)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Token ")

    def may_write(self):
        if self.token() == ADMIN:
            return True
        kept = [it for it in authorizations.values() if it["token"] == self.token()]
        return any(right["action"] == "write" for it in kept for right in it["permissions"])

    def refuse(self):
        self.body()
        self.answer(401, {"code": "unauthorized", "message": "unauthorized access"})

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path in ("/ping", "/health"):
            return self.answer(204 if url.path == "/ping" else 200)
        if self.token() != ADMIN:
            return self.refuse()
        if url.path == "/api/v2/orgs":
            return self.answer(200, {"orgs": [{"id": ORG_ID, "name": ORG}]})
        if url.path == "/api/v2/buckets":
            found = query.get("name", [BUCKET]) == [BUCKET]
            return self.answer(200, {"buckets": [{"id": BUCKET_ID, "orgID": ORG_ID, "name": BUCKET}] if found else []})
        if url.path == "/api/v2/authorizations":
            return self.answer(200, {"authorizations": list(authorizations.values())})
        if found := re.fullmatch(r"/api/v2/authorizations/(\w+)", url.path):
            if kept := authorizations.get(found.group(1)):
                return self.answer(200, kept)
        self.answer(404, {"code": "not found", "message": "path not found"})

    do_HEAD = do_GET

    def do_POST(self):
        url = urlsplit(self.path)
        if url.path == "/api/v2/write":
            if not self.may_write():
                return self.refuse()
            headers = {key: value for key in ("Content-Encoding",) if (value := self.headers.get(key))}
            urllib.request.urlopen(urllib.request.Request(f"{STORE}/write", self.body(), headers))
            return self.answer(204)
        if url.path == "/api/v2/authorizations" and self.token() == ADMIN:
            made = json.loads(self.body()) | {"id": secrets.token_hex(8), "token": secrets.token_urlsafe(48), "status": "active"}
            authorizations[made["id"]] = made
            keep()
            return self.answer(201, made)
        self.refuse()

    def do_DELETE(self):
        found = re.fullmatch(r"/api/v2/authorizations/(\w+)", urlsplit(self.path).path)
        if not found or self.token() != ADMIN:
            return self.refuse()
        gone = authorizations.pop(found.group(1), None)
        keep()
        self.answer(204 if gone else 404)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", 8086), Handler).serve_forever()
