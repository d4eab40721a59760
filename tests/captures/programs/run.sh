#!/bin/sh
# Makes the captures anew: `sh run.sh OUT`, in this folder, with nothing listening on the ports below. Takes 20 minutes.
# Needs kcat, nginx, psql, redis-cli, curl, wget, ssh, autossh, rsyslogd, logger; python with psycopg-pool, redis,
# celery[redis], tenacity, websockets, kafka-python, paho-mqtt, requests; node with ws, reconnecting-websocket, ioredis;
# java with Kafka's own libraries in $KAFKA (a class path).
out=${1:?where to}
mkdir -p "$out"
# capture NAME FORM LINES_MAX SECONDS_MAX PROGRAM …
capture() { name=$1; shift; python3 stamp.py "$out/$name.log" "$@" & }

capture kcat cri 120 600 sh -c 'sleep 900 | kcat -b 127.0.0.1:19092 -P -t orders'
capture kcat-debug json 200 300 sh -c 'sleep 900 | kcat -b 127.0.0.1:19092 -P -t orders -d broker -X enable.sparse.connections=false'
capture kafka-java cri 200 240 sh -c '(while :; do echo x; sleep 5; done) | java -Xmx64m -cp "$KAFKA" -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS" -Dorg.slf4j.simpleLogger.log.org.apache.kafka.common=warn -Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients=warn org.apache.kafka.tools.ConsoleProducer --bootstrap-server 127.0.0.1:19092 --topic orders'
capture kafka-python cri 200 400 python3 kafka_python_client.py
capture nginx json 200 240 sh -c 'nginx -p ./ -c nginx.conf & until curl -s -o /dev/null http://127.0.0.1:18090/health; do sleep 0.2; done; while :; do curl -s -o /dev/null http://127.0.0.1:18090/api/orders/$(shuf -i 1-30000 -n 1); sleep 2; done'
capture psql-loop cri 120 160 sh -c 'while :; do psql -h 127.0.0.1 -p 15432 -U shop -c "select 1"; sleep 2; done'
capture psycopg-pool json 100 700 python3 psycopg_pool_client.py
capture redis-cli-loop cri 60 80 sh -c 'until redis-cli -p 16379 ping; do sleep 1; done'
capture redis-py cri 60 400 python3 redis_retry.py
capture tenacity json 60 500 python3 tenacity_redis.py
capture celery cri 60 600 python3 -m celery -A tasks worker --loglevel=INFO --concurrency=1 -P solo
capture ioredis cri 60 120 node ioredis_client.js
capture curl-retry cri 60 1300 curl -sS -o /dev/null --retry 12 --retry-connrefused --retry-max-time 1200 http://127.0.0.1:18080/health
capture curl-loop json 100 110 sh -c 'while sleep 1; do curl -sS -o /dev/null http://127.0.0.1:18080/health; done'
capture curl-tight cri 150 60 sh -c 'until curl -sS -o /dev/null http://127.0.0.1:18080/health; do :; done'
capture wget cri 100 200 wget -O /dev/null --tries=25 --retry-connrefused --waitretry=10 http://127.0.0.1:18080/export.csv
capture requests cri 200 700 python3 requests_retry.py
capture ssh-loop cri 60 150 sh -c 'until ssh -o BatchMode=yes -p 10022 127.0.0.1 true; do sleep 3; done'
capture autossh cri 150 700 env AUTOSSH_GATETIME=0 AUTOSSH_DEBUG=1 AUTOSSH_LOGFILE=/dev/stderr autossh -M 0 -N -p 10022 127.0.0.1
capture rsyslog cri 150 300 sh -c 'rsyslogd -n -i ./rsyslog.pid -f rsyslog.conf & sleep 2; while :; do logger -u log.sock "order placed"; sleep 1; done'
capture websockets cri 100 700 python3 websocket_client.py
capture reconnecting-websocket json 60 240 node reconnecting.js
capture ws-tight json 200 60 node ws_tight.js
capture ws-fixed cri 200 60 node ws_fixed.js
capture paho json 60 500 python3 paho_client.py
wait
