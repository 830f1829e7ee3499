import ctxkit
import shop
from celery.contrib.testing.worker import start_worker

shop.app.conf.update(
    broker_url="memory://", result_backend="cache+memory://", worker_hijack_root_logger=False
)

import spawning
import views

with start_worker(shop.app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
    assert views.order(7).get(timeout=20) == "acme r-1 7"
    assert spawning.report(7).get(timeout=20) == "acme reports 7"
    with ctxkit.bind({shop.TENANT: "acme"}):
        later = spawning.report_some_time(8)
    shop.app.control.add_consumer("slow", reply=False)
    assert later.get(timeout=20) == "acme reports 8"

shop.app.conf.task_always_eager = True
assert views.order(7).get() == "acme r-1 7"
assert shop.app.tasks["ctxkit.run"].acks_late
assert shop.bill.acks_late
