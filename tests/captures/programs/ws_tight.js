// The incident: a client that opens the next socket the moment the last one failed.
const WebSocket = require('ws');
let attempts = 0;
function open() {
  const socket = new WebSocket('ws://127.0.0.1:18765/feed');
  socket.on('error', error => console.error('WebSocket connection error:', error.message));
  socket.on('close', () => { console.log(`Reconnection failed after ${++attempts} attempts, reconnecting to ws://127.0.0.1:18765/feed`); setImmediate(open); });
}
open();
