client = sentry_sdk.get_client()
assert isinstance(client.transport, ConcurrentTransport)
assert client.transport._pool.connection_pool_kw["maxsize"] == 16
client.close(timeout=0)

few = sentry_sdk.Client("https://public@sentry.example.com/1", transport=FewerAtOnce)
assert few.transport._pool.connection_pool_kw["maxsize"] == 4
few.close(timeout=0)

from ctxkit.flushing.sinks import discover

[sink] = [sink for sink in discover() if sink.name == "otel.traces"]
assert sink.pending() == 0
assert sink.concurrency > 1
provider.shutdown()
