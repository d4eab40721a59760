import logging, requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry
logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
session = requests.Session()
session.mount("http://", HTTPAdapter(max_retries=Retry(total=12, backoff_factor=0.25)))
session.get("http://127.0.0.1:18080/api/orders")
