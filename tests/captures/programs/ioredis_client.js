const Redis = require('ioredis');
new Redis({ host: '127.0.0.1', port: 16379 });
