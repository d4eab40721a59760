import logging, redis, sys
from tenacity import retry, wait_random_exponential, before_sleep_log
logging.basicConfig(format="%(asctime)s - %(name)s - %(levelname)s - %(message)s", level=logging.INFO)
log = logging.getLogger("cart")
@retry(wait=wait_random_exponential(multiplier=1, max=20), before_sleep=before_sleep_log(log, logging.WARNING))
def ping():
    redis.Redis(host="127.0.0.1", port=16379, retry=None).ping()
ping()
