"""How gunicorn runs the shop: found by itself when started here, ``gunicorn config.wsgi``.

The threads of OpenTelemetry's exporters do not survive a fork, so its documentation has them
started in each worker. Without preloading, a worker imports ``config.wsgi`` after its fork, and
that does it: https://opentelemetry-python.readthedocs.io/en/stable/examples/fork-process-model/
"""

preload_app = False
