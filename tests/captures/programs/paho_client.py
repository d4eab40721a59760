import logging
import paho.mqtt.client as mqtt
logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.DEBUG)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="meter-7")
client.enable_logger(); client.reconnect_delay_set(1, 60)
client.on_connect_fail = lambda *_: logging.error("connect to 127.0.0.1:18830 failed")
client.connect_async("127.0.0.1", 18830)
client.loop_forever(retry_first_connection=True)
