const ReconnectingWebSocket = require('reconnecting-websocket');
const socket = new ReconnectingWebSocket('ws://127.0.0.1:18765/feed', [], { WebSocket: require('ws'), debug: false });
socket.addEventListener('error', event => console.error(`${new Date().toISOString()} websocket error: ${event.message} (retry ${socket.retryCount})`));
