"""An issuer of JWTs, as far as Clarion sees it: a server that publishes keys, or what it was given in their place.

``python -m tests.support.issuer_process`` prints its port, and ends when its standard input does. POST /answer with
``{"status", "headers", "body"}`` says what GET answers from then on; GET /asked, how many others there have been.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_answer: dict[str, Any] = {"status": 200, "headers": {}, "body": '{"keys": []}'}
_asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/asked":
            self._say(200, {}, json.dumps(len(_asked)))
            return
        _asked.append(self.path)
        self._say(_answer["status"], _answer["headers"], _answer["body"])

    def do_POST(self) -> None:
        _answer.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._say(200, {}, "")

    def _say(self, status: int, headers: dict[str, str], body: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    os._exit(0)
