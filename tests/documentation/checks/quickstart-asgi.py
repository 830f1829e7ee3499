import asyncio

import app as module

sent = []


async def main():
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"x-request-id", b"abc")],
    }
    await module.app(scope, receive, send)


asyncio.run(main())
assert (b"x-request-id", b"abc") in [(name.lower(), value) for name, value in sent[0]["headers"]]
assert b"".join(event.get("body", b"") for event in sent) == b"3 for abc\n"
