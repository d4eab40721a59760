# The back-off that redis-py has built in paces the tries; each failure is logged.
import logging, redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
log = logging.getLogger("session")
backoff = ExponentialBackoff(cap=30, base=0.25)
retry = Retry(backoff, -1)
connection = redis.Connection(host="127.0.0.1", port=16379, retry=Retry(backoff, 0))
retry.call_with_retry(connection.connect, lambda error: log.error("redis unavailable: %s", error))
