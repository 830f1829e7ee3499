from wsgiref.util import setup_testing_defaults

import app as module


def answer(application):
    environ = {"HTTP_X_REQUEST_ID": "abc"}
    setup_testing_defaults(environ)
    sent = []
    body = application(environ, lambda status, headers, exc_info=None: sent.extend(headers))
    try:
        return dict(sent), b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()


headers, body = answer(module.application)
assert headers["X-Request-ID"] == "abc"
assert body == b"request abc\n"

headers, body = answer(application)
assert "X-Request-ID" not in headers
assert len(body) > len(b"request \n")
