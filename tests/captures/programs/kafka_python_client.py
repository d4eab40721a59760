import logging
from kafka import KafkaProducer
logging.basicConfig(format="%(asctime)s %(levelname)s:%(name)s:%(message)s", level=logging.INFO)
producer = KafkaProducer(bootstrap_servers="127.0.0.1:19092", api_version=(2, 6, 0), max_block_ms=3600000)
producer.send("orders", b"one").get(timeout=3600)
