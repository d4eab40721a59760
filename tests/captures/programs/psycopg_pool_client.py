import logging, time
from psycopg_pool import ConnectionPool
logging.basicConfig(format="%(asctime)s %(levelname)s [%(name)s] %(message)s", level=logging.INFO)
pool = ConnectionPool("host=127.0.0.1 port=15432 dbname=shop user=shop connect_timeout=3", min_size=1, open=True)
time.sleep(3600)
