"""AWS as moto plays it, one request at a time.

Each request to AWS takes effect alone; moto's server answers in threads, and of two that look at a condition at the same
moment both may find that it holds. That is seen on a busy machine, and then it looks as if a store lost a write. So the
requests wait for each other here. Bodies are read before: a client that stops in the middle of its request holds nobody up.
"""

import argparse
import io
import os
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple


def one_at_a_time(application):
    lock = threading.Lock()

    def answer(environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length:
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with lock:
            return list(application(environ, start_response))

    return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    os.environ.setdefault("MOTO_PORT", str(port))
    application = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)
