from celery import Celery
app = Celery("tasks", broker="redis://127.0.0.1:16379/0")
app.conf.broker_connection_retry_on_startup = True
@app.task
def charge(): return 1
