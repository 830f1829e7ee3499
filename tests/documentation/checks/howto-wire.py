import importlib.util
from wsgiref.util import setup_testing_defaults

environ = {"HTTP_CTXKIT_CONTEXT": 'v1 {"tenant":"acme"}'}
setup_testing_defaults(environ)
assert b"".join(application(environ, lambda *_: None)) == b"acme"

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import own_hosts

seen = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        seen.append(
            {name: self.headers[name] for name in own_hosts.HEADERS if name in self.headers}
        )
        self.send_response(307 if self.path == "/away" else 204)
        self.send_header("Location", f"http://localhost:{server.server_port}/")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
own_hosts.OWN_HOSTS.add("127.0.0.1")
url = f"http://127.0.0.1:{server.server_port}/away"
sent = {"ctxkit-context": 'v1 {"tenant":"acme"}', "baggage": "k=v"}


def check_redirect(get):
    """Our own host gets the context, and the one that it redirects to does not."""
    with ctxkit.bind({TENANT: "acme", "baggage": "k=v"}):
        get(url)
    assert seen == [sent, {}], seen
    seen.clear()


if importlib.util.find_spec("requests"):
    from with_requests import ContextSession

    with ContextSession() as session:
        session.trust_env = False
        check_redirect(session.get)
if importlib.util.find_spec("httpx"):
    import with_httpx

    with_httpx.client._trust_env = False
    check_redirect(lambda url: with_httpx.client.get(url, follow_redirects=True))
    with_httpx.client.close()
server.shutdown()
server.server_close()
