"""A port in front of an engine, which keeps back the answer to a write of a refresh token's family and kills who asked.

The write is done by then: the answer that is kept back says so.
"""

import contextlib
import select
import socket
import socketserver
import threading


class Postgres:
    """The key is among the values of a statement. The answer says what was done, and ends when that is committed."""

    @staticmethod
    def is_whole(answer):
        return answer.endswith(b"Z\0\0\0\5I")

    @staticmethod
    def is_write(request, answer):
        return b"refresh/" in request and (b"UPDATE 1\0" in answer or b"INSERT 0 1\0" in answer)


class MongoDB:
    """A message begins with its length, and a command with its name; `n` is how many documents it met."""

    @staticmethod
    def is_whole(answer):
        return len(answer) >= 4 and len(answer) >= int.from_bytes(answer[:4], "little")

    @staticmethod
    def is_write(request, answer):
        return b"\2update\0" in request and b"refresh/" in request and b"\x10n\0\1\0\0\0" in answer


class Withheld(socketserver.ThreadingTCPServer):
    """Hands on everything else. Both protocols say one thing at a time on a connection."""

    daemon_threads = True

    def __init__(self, engine, protocol):
        self.engine, self.protocol, self.victim = engine, protocol, None
        super().__init__(("127.0.0.1", 0), None)
        self.port = self.server_address[1]

    def finish_request(self, asking, _):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.engine)) as engine:
            request = answer = b""
            while True:
                ready = select.select([asking, engine], [], [])[0]
                if asking in ready:
                    if not (data := asking.recv(65536)):
                        return
                    request, answer = (data, b"") if answer else (request + data, b"")
                    engine.sendall(data)
                if engine in ready:
                    if not (data := engine.recv(65536)):
                        return
                    answer += data
                    # What belongs to a family is kept until it is known what it says.
                    if b"refresh/" not in request:
                        asking.sendall(data)
                    elif self.protocol.is_whole(answer):
                        if self.victim and self.protocol.is_write(request, answer):
                            self.victim.kill()
                            self.victim.wait()
                            return
                        asking.sendall(answer)

    @contextlib.contextmanager
    def killing(self, process):
        """While this goes on, the next write kills that server."""
        self.victim = process
        try:
            yield
        finally:
            self.victim = None


@contextlib.contextmanager
def withheld(engine, protocol):
    """Such a port in front of another one."""
    with Withheld(engine, protocol) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()
