"""Genuine hawkBit 0.3.0M7 as the image of 1.1 is started, and what 1.1 has beyond it: groups and types of targets,
settings in one request, the list of all actions. Everything else passes."""

import base64
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

GENUINE = "http://127.0.0.1:8081"
SETTINGS = json.loads(os.environ["SPRING_APPLICATION_JSON"])
USERS = {
    name: SETTINGS[f"hawkbit.security.user.{name}.password"].removeprefix("{noop}") for name in ("admin", "bridge")
}
OPENED = ["java.lang", "java.lang.reflect", "java.util", "java.text"]
PASSED_ON = ("Accept", "Content-Type", "Range", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
             "X-Forwarded-Port")
groups, types, type_of = {}, [], {}


def basic(user):
    return "Basic " + base64.b64encode(f"{user}:{USERS[user]}".encode()).decode()


def start():
    command = ["/usr/bin/java", *[f"--add-opens=java.base/{it}=ALL-UNNAMED" for it in OPENED], "-Xmx512m",
               "-cp", "/opt/hawkbit/classes:/opt/hawkbit/lib/*", "server.UpdateServer",
               "--server.address=127.0.0.1", "--server.port=8081", "--server.forward-headers-strategy=NATIVE",
               "--server.use-forward-headers=true",
               "--hawkbit.artifact.url.protocols.download-http.protocol=https",
               "--hawkbit.artifact.url.protocols.download-http.port=443",
               "--spring.datasource.url=jdbc:h2:file:/app/artifactrepo/hawkbit;MODE=MySQL", "--spring.jpa.database=H2",
               "--spring.main.allow-bean-definition-overriding=true",
               "--org.eclipse.hawkbit.repository.file.path=/app/artifactrepo"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPRING_")}
    environment |= {"SPRING_SECURITY_USER_NAME": "bridge", "SPRING_SECURITY_USER_PASSWORD": "{noop}" + USERS["bridge"]}
    process = subprocess.Popen(command, env=environment, cwd="/tmp")
    threading.Thread(target=lambda: os._exit(process.wait() or 1), daemon=True).start()


def genuine(method, path, body=None, headers=None):
    headers = {"Authorization": basic("bridge"), "Content-Type": "application/json"} | (headers or {})
    request = urllib.request.Request(GENUINE + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def entries(path):
    status, _, body = genuine("GET", path + ("&" if "?" in path else "?") + "limit=500")
    return json.loads(body).get("content", []) if status == 200 else []


def every_action():
    for target in entries("/rest/v1/targets"):
        base = f"/rest/v1/targets/{target['controllerId']}/actions"
        for action in entries(base):
            whole = json.loads(genuine("GET", f"{base}/{action['id']}")[2])
            steps = entries(f"{base}/{action['id']}/status")
            last = max(steps, key=lambda step: (step["reportedAt"], step["id"]), default={})
            distribution = whole.get("_links", {}).get("distributionset", {})
            yield {
                "id": action["id"], "type": action["type"], "active": action["status"] == "pending",
                "status": last.get("type", action["status"]),
                "lastModifiedAt": max(action["lastModifiedAt"], last.get("reportedAt", 0)),
                "_links": {"target": {"href": f"http://hawkbit/rest/v1/targets/{target['controllerId']}"},
                           "distributionset": {"href": distribution.get("href", "http://hawkbit/"),
                                               "name": distribution.get("name")}},
            }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=None, headers=None):
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        kind = (headers or {}).get("Content-Type") or "application/hal+json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def serve(self):
        url, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path == "/actuator/health":
            return self.answer(200 if genuine("GET", "/rest/v1/targets?limit=1")[0] == 200 else 503, {})
        headers = {name: self.headers[name] for name in PASSED_ON if self.headers.get(name)}
        headers["Host"] = self.headers.get("Host", "hawkbit")
        headers["Authorization"] = self.headers.get("Authorization", "")
        if url.path.startswith("/rest/"):
            if headers["Authorization"] not in (basic("admin"), basic("bridge")):
                return self.answer(401)
            headers["Authorization"] = basic("bridge")
            if (special := self.special(url, body)) is not None:
                return self.answer(*special)
        status, answered, data = genuine(self.command, self.path, body or None, headers)
        target = re.fullmatch(r"/rest/v1/targets/([^/]+)", url.path)
        if target and status == 200 and self.command == "GET":
            data = self.with_group(target.group(1), json.loads(data))
        self.keep_groups(url.path, target, status, body)
        self.answer(status, data, {"Content-Type": answered.get("Content-Type")})

    def special(self, url, body):
        method, path, query = self.command, url.path, parse_qs(url.query)
        if path == "/rest/v1/actions" and method == "GET":
            since = int(re.search(r"lastModifiedAt=g[et]=(\d+)", query["q"][0]).group(1))
            found = sorted((it for it in every_action() if it["lastModifiedAt"] >= since), key=lambda it: it["lastModifiedAt"])
            skip, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["50"])[0])
            return 200, {"total": len(found), "content": found[skip:skip + limit]}
        if path == "/rest/v1/system/configs" and method == "PUT":
            for key, value in json.loads(body).items():
                status = genuine("PUT", f"/rest/v1/system/configs/{key}", json.dumps({"value": value}).encode())[0]
                if status >= 300:
                    return status, None
            return 204, None
        if path == "/rest/v1/targettypes":
            if method == "POST":
                types.extend(it["key"] for it in json.loads(body))
                return 201, [{"id": types.index(it["key"]), "key": it["key"]} for it in json.loads(body)]
            wanted = query.get("q", [""])[0].removeprefix("key==")
            found = [{"id": number, "key": key} for number, key in enumerate(types) if key == wanted]
            return 200, {"total": len(found), "content": found}
        if (typed := re.fullmatch(r"/rest/v1/targets/([^/]+)/targettype", path)) and method == "POST":
            type_of[typed.group(1)] = json.loads(body)["id"]
            return 200, None
        return None

    def with_group(self, name, target):
        number = type_of.get(name)
        return target | {"group": groups.get(name), "targetType": number,
                         "targetTypeName": None if number is None else types[number]}

    def keep_groups(self, path, target, status, body):
        if status >= 300 or self.command not in ("POST", "PUT"):
            return
        if path == "/rest/v1/targets":
            groups.update({it["controllerId"]: it.get("group") for it in json.loads(body)})
        elif target and json.loads(body or b"{}").get("group") is not None:
            groups[target.group(1)] = json.loads(body)["group"]

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def log_message(self, *_):
        pass


start()
while True:
    try:
        if genuine("GET", "/rest/v1/targets?limit=1")[0] == 200:
            break
    except OSError:
        pass
    time.sleep(1)
ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
