#!/usr/bin/env python3
"""A stand-in for 8x8.vc: the script of the IFrame API, and a page in its frame. It shows what it was given and lets nobody talk.

usage: meetings.py PORT. With an account at 8x8 it is not needed; see the README.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# As the real one: a constructor with a host and options, an iframe below `parentNode`, listeners, dispose. The token is not put
# into the address of the frame, where the page of this stand-in would have no use for it.
SCRIPT = """
window.JitsiMeetExternalAPI = class {
  static made = []
  listeners = {}
  constructor(host, options) {
    Object.assign(this, { host, options })
    this.frame = document.createElement('iframe')
    this.frame.title = 'Meeting'
    this.frame.allow = 'camera; microphone; display-capture'
    this.frame.style.width = options.width
    this.frame.style.height = options.height
    this.frame.src = `http://${host}/${options.roomName}`
    options.parentNode.append(this.frame)
    this.constructor.made.push(this)
    this.hears = ({ source, data }) => source === this.frame.contentWindow && this.emit(data.event, data.detail)
    addEventListener('message', this.hears)
  }
  addListener(event, listener) {
    (this.listeners[event] ??= []).push(listener)
  }
  emit(event, detail = {}) {
    for (const listener of this.listeners[event] ?? []) listener(detail)
  }
  dispose() {
    removeEventListener('message', this.hears)
    this.frame.remove()
    this.disposed = true
  }
}
"""
PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Meeting</title>
<style>body { font: 1rem/1.5 system-ui; color: #e8eaed; background: #202124; text-align: center; display: grid; gap: 1rem;
place-content: center; min-height: 90vh; margin: 1rem } button { font: inherit; padding: .6rem 1rem }</style>
<p>A stand-in for the meeting.</p><p><button onclick="tell('videoConferenceJoined')">Go in</button></p>
<p><button onclick="tell('readyToClose')">Hang up</button></p>
<script>const tell = (event) => parent.postMessage({ event }, '*')</script></html>"""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        script = self.path.endswith("/external_api.js")
        text = SCRIPT if script else PAGE
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if script else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
