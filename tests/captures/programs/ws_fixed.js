// A plain client with the fixed wait most tutorials show.
const WebSocket = require('ws');
function open() {
  const socket = new WebSocket('ws://127.0.0.1:18765/feed');
  socket.on('error', error => console.error(error));
  socket.on('close', code => { console.log(`socket closed (${code}), reconnecting in 2 s`); setTimeout(open, 2000); });
}
open();
