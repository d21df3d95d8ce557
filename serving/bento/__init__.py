"""Workarounds for BentoML and the servers it runs on; each module says what it works around.

Below is the list of private and undocumented interfaces that the service relies on: check these first when a new
version of BentoML, uvicorn, circus or DBOS breaks something. tests/serving/bento/test_private.py compares the list with
the code of serving/.

Private by their underscore:

    DBOS._recover_pending_workflows     jobs/takeover.py        requeues a worker's workflows

Undocumented:

    circus.sighandler                   bento/signals.py        SysHandler.handle_hup is replaced
    send_hup                            bento/signals.py        a watcher of circus then passes SIGHUP on
    from_http_request                   bento/uploads.py        the method of BentoML's IODescriptor that reads
    worker_index                        bento/environment.py    of bentoml.server_context; set in server processes
    excluded_urls                       bento/environment.py    BentoML's configuration of tracing
    BENTO_PATH                          bento/models.py         set in images; the Bento's models lie below it
    RobustClassifier.bento              service.py              the Bento that a service was loaded from
    background_thread_stop_events       jobs/takeover.py        of DBOS; its threads then take no more work
    auto.AutoHTTPProtocol               bento/connections.py    uvicorn looks its protocol up there, and gets ours
    HttpToolsProtocol                   bento/connections.py    of uvicorn: the methods that its parser calls
    RequestResponseCycle                bento/connections.py    of uvicorn: one request, its answer and their state
    FORWARDED_ALLOW_IPS                 bento/environment.py    whose X-Forwarded-For uvicorn takes over
    "is locked"                         jobs/database.py        wording by which DBOS recognises an error to retry
    PROMETHEUS_MULTIPROC_DIR            process/metrics.py      where BentoML has its processes share metrics
"""
