"""A folder behind nginx at an issuer's address, in clear text or over TLS: what `countersign publish` is for."""

import os
import socket
import subprocess
from contextlib import contextmanager

from e2e import clocks
from e2e.program import until

NGINX = """
daemon off; master_process off; worker_processes 1;
env FAKETIME_TIMESTAMP_FILE; env FAKETIME_NO_CACHE; env FAKETIME_DONT_FAKE_MONOTONIC; env FAKETIME_DONT_RESET;
pid @FOLDER@/nginx.pid; error_log @FOLDER@/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path @FOLDER@/t1; proxy_temp_path @FOLDER@/t2; fastcgi_temp_path @FOLDER@/t3; uwsgi_temp_path @FOLDER@/t4; scgi_temp_path @FOLDER@/t5;
  types { application/x-pem-file pem; }
  server { @LISTEN@ root @FOLDER@/site; default_type application/json; add_header Cache-Control "public, max-age=300"; }
}
"""
TLS = "listen 127.0.0.1:@PORT@ ssl; ssl_certificate @FOLDER@/tls.pem; ssl_certificate_key @FOLDER@/tls.key;"


@contextmanager
def nginx(folder, port, listen="listen 127.0.0.1:@PORT@;", clock=None):
    """Serves the folder `site` of `folder` while it is open. Its clock follows the file `clock`."""
    (folder / "site").mkdir()
    file = folder / "nginx.conf"
    file.write_text(NGINX.replace("@LISTEN@", listen).replace("@PORT@", str(port)).replace("@FOLDER@", str(folder)))
    environment = os.environ | (clocks.following(clock) if clock else {})
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(file)], env=environment, stderr=subprocess.PIPE)
    try:
        until(lambda: is_open(port) or process.poll() is not None, "nginx serves")
        assert process.poll() is None, process.stderr.read()
        yield
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


def certificate(folder):
    """A certificate for 127.0.0.1 of a new CA, for ten years: `tls.pem` and `tls.key`. Returns the CA's own."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
    key_of_ca, ca = folder / "ca.key", folder / "ca.pem"
    run([*new, "-subj", "/CN=CA of this test", "-keyout", key_of_ca, "-out", ca])
    leaf = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    signed = ["-CA", ca, "-CAkey", key_of_ca, "-keyout", folder / "tls.key", "-out", folder / "tls.pem"]
    run([*new, "-subj", "/CN=127.0.0.1", *leaf, *signed])
    return ca


def run(command):
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=60)
