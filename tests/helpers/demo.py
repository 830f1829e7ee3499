"""A server that answers one request in two steps, for the freezing hosts to freeze."""

from __future__ import annotations

import sys

# It counts for ever in a thread, so that one can see it standing still, and forks once,
# so that one can see that the whole group does. "?work" answers only after its length.
COUNTING_SERVER = """
import http.server, os, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/exit":
            print("going away", flush=True)
            os._exit(3)
        if self.path == "/half":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhal")
            self.close_connection = True
            return
        if self.path == "/slow":
            time.sleep(60)
        body = f"{count} {child}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

count = 0
def tick():
    global count
    while True:
        count += 1
        time.sleep(0.001)

child = os.fork()
if not child:
    while True:
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def counting_server() -> list[str]:
    """Return the command of the server above; it answers ``<count> <pid of its child>``."""
    return [sys.executable, "-c", COUNTING_SERVER, "{port}"]
