import dramatiq
from shop_actors import confirmed

worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=10)
worker.start()
confirm.send(8)
broker.join("default")
worker.join()
worker.stop()
assert confirmed[0] == (7, "acme", "0b7fd4c1")
assert confirmed[1][:2] == (8, "nobody")
assert confirmed[1][2] != "0b7fd4c1"
