"""Clients that take all they can get, each from an address of its own, and an honest one that is timed.

Everything runs in one thread with one selector, so that a thousand connections cost the tests little. `Crowd` opens them
and keeps each at what it does forever: a connection that the server closes is opened again at its next step.
"""

import errno
import selectors
import socket
import threading
import time

#: What the kinds send. `{n}` is how often.
GET = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"POST /sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50000\r\n"


class Client:
    """One hostile connection; `step` is what it does again and again."""

    #: Seconds between two steps.
    pause = 0.5
    #: Whether it reads what the server sends.
    reads = True

    def __init__(self, crowd, source):
        self.crowd, self.source, self.opened, self.socket = crowd, source, 0, None

    def open(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.configure()
        self.socket.bind((self.source, 0))
        error = self.socket.connect_ex(self.crowd.address)
        assert error in (0, errno.EINPROGRESS), error
        self.opened, self.left = self.opened + 1, self.begin()
        self.crowd.watch(self)

    def configure(self):
        pass

    def begin(self):
        return b""

    def close(self):
        if self.socket:
            self.crowd.forget(self)
            self.socket.close()
            self.socket = None

    def read(self):
        """Reads what there is; False at the end."""
        try:
            return self.socket.recv(65536) != b""
        except BlockingIOError:
            return True

    def write(self):
        if self.left:
            try:
                self.left = self.left[self.socket.send(self.left):]
            except BlockingIOError:
                pass


class NeverReads(Client):
    """Asks for documents until both sides' buffers are full, and reads none."""

    pause = 1.0
    reads = False

    def configure(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)

    def begin(self):
        return GET * 300

    def step(self):
        self.left = self.left or self.begin()
        self.write()


class Polite(Client):
    """Keeps its connection and uses it now and then."""

    pause = 1.5

    def begin(self):
        return HEALTH

    def step(self):
        self.left = HEALTH
        self.write()


class SlowHeader(Client):
    """A header without end, a byte at a time."""

    def begin(self):
        return b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "

    def step(self):
        self.left = self.left or b"a"
        self.write()


class SlowBody(Client):
    """A body that hardly moves."""

    def begin(self):
        return HEAD + b"\r\n{"

    def step(self):
        self.left = self.left or b" "
        self.write()


KINDS = (NeverReads, Polite, SlowHeader, SlowBody)


class Crowd:
    """Hostile connections: `count` of them, taking turns at `kinds` and at `sources`."""

    def __init__(self, port, count, kinds=KINDS, sources=("127.0.0.1",)):
        self.address = ("127.0.0.1", port)
        self.selector, self.reopened, self.stopped = selectors.DefaultSelector(), 0, False
        # Turns of different lengths, so that every kind comes from every address.
        pairs = [(kind, source) for source in sources for kind in kinds]
        self.clients = [pairs[n % len(pairs)][0](self, pairs[n % len(pairs)][1]) for n in range(count)]
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        for client in self.clients:
            client.open()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join(timeout=30)
        for client in self.clients:
            client.close()
        self.selector.close()

    def watch(self, client):
        if client.reads:
            self.selector.register(client.socket, selectors.EVENT_READ, client)

    def forget(self, client):
        if client.reads:
            self.selector.unregister(client.socket)

    def closed(self, client):
        client.close()
        self.reopened += 1

    def run(self):
        due = {client: time.monotonic() + n * 0.001 for n, client in enumerate(self.clients)}
        while not self.stopped:
            for key, _ in self.selector.select(timeout=0.05):
                client = key.data
                try:
                    if not client.read():
                        self.closed(client)
                except OSError:
                    self.closed(client)
            now = time.monotonic()
            for client, at in due.items():
                if at <= now and not self.stopped:
                    due[client] = now + client.pause
                    try:
                        client.step() if client.socket else client.open()
                    except OSError:
                        self.closed(client)


class Honest:
    """Asks for one thing over a new connection, again and again, and notes how long each took."""

    def __init__(self, ask):
        self.ask, self.seconds, self.failed, self.stopped = ask, [], [], False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join(timeout=60)

    def run(self):
        while not self.stopped:
            begun = time.monotonic()
            try:
                self.ask()
                self.seconds.append(time.monotonic() - begun)
            except Exception as why:  # noqa: BLE001: whatever it was, it was not served
                self.failed.append(f"{type(why).__name__} after {time.monotonic() - begun:.2f} s: {why}")
            time.sleep(0.05)

    def report(self):
        times = sorted(self.seconds)
        at = lambda part: times[min(len(times) - 1, int(len(times) * part))] * 1000  # noqa: E731
        return f"{len(times)} served: p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, longest {times[-1] * 1000:.1f} ms"
