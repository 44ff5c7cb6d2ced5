"""The tasks of the systems in `bench_queues.py`: a task that returns a constant, as the platform's container does.

Each has the settings that its documentation names for tasks that must not be lost."""

import os

ANSWER = {"ok": True}
SYSTEM = os.environ["BENCH_SYSTEM"]
URL = os.environ.get("BENCH_REDIS", "")

if SYSTEM == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker = RedisBroker(url=URL)
    broker.add_middleware(Results(backend=RedisBackend(url=URL), result_ttl=7 * 24 * 3600 * 1000))
    dramatiq.set_broker(broker)

    @dramatiq.actor(store_results=True, max_retries=3)
    def work(item):
        return ANSWER

if SYSTEM == "celery":
    from celery import Celery

    app = Celery("bench", broker=URL, backend=URL)
    app.conf.update(
        task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, result_expires=7 * 24 * 3600)

    @app.task(name="work")
    def work(item):
        return ANSWER

    @app.task(name="together")
    def together(results):
        return len(results)

if SYSTEM == "huey":
    from huey import SqliteHuey

    huey = SqliteHuey("bench", filename=os.environ["BENCH_FILE"], fsync=True, timeout=60)

    @huey.task(retries=3)
    def work(item):
        return ANSWER
