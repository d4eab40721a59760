import asyncio, logging
from websockets.asyncio.client import connect
logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
async def main():
    async for websocket in connect("ws://127.0.0.1:18765/feed"):
        pass
asyncio.run(main())
