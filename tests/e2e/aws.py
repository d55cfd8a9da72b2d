"""How programs find AWS in tests, and a port in front of it that sees, spoils and cuts what is asked.

Credentials and endpoint go to the program by `AWS_…` variables alone; nothing that this machine may have of its own is looked at.
"""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers.ministack import KEY_ID, REGION, SECRET

TOKEN = "TOKEN-never-shown"


def variables(endpoint):
    """What a program needs to find it. No profile, no container and no instance is asked besides."""
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN, "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint, **nowhere(),
    }


def nowhere():
    """Variables with which nothing is found that this machine may have."""
    return {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials", "AWS_EC2_METADATA_DISABLED": "true"}


class Relay:
    """A port in front of a server. `asked` has every request as (method, path, headers); `spoil` may answer one instead, with a
    status and a body, or cut its connection by returning `"away"`; `done` is told of each that it has answered, and may keep the
    answer back by the same word."""

    def __init__(self, server):
        relay = self
        self.asked, self.spoil, self.connections, self.silent = [], lambda method, path: None, set(), set()
        self.done = lambda method, path, body, status: None
        self.ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                relay.connections.add(self.connection)

            def finish(self):
                relay.connections.discard(self.connection)
                super().finish()

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.connection in relay.silent:
                    relay.ended.wait()
                    self.close_connection = True
                    return
                relay.asked.append((self.command, self.path, dict(self.headers)))
                spoiled = relay.spoil(self.command, self.path)
                if spoiled == "away":
                    self.close_connection = True
                    return
                if spoiled:
                    status, headers, content = spoiled[0], [], spoiled[1]
                else:
                    onward = http.client.HTTPConnection("127.0.0.1", server, timeout=120)
                    onward.request(self.command, self.path, body, dict(self.headers))
                    answer = onward.getresponse()
                    status, headers, content = answer.status, answer.getheaders(), answer.read()
                    onward.close()
                    if relay.done(self.command, self.path, body, status) == "away":
                        self.close_connection = True
                        return
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = pass_on

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def cut(self):
        """Every connection that is open now ends; new ones are taken."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def silence(self):
        """No connection that is open now is answered any more; new ones are."""
        self.silent |= self.connections

    def shut(self):
        """From now on every connection is cut: the server is away."""
        self.spoil = lambda method, path: "away"

    def unshut(self):
        self.spoil = lambda method, path: None

    def end(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
