"""Tells others that an audit has ended: a signed POST to each URL of F2AT_WEBHOOK_URLS, until it is taken.

`outbox` starts a delivery of each audit that ends to each receiver; `delivery` is that, as workflows of the job engine,
and `deliveries` what the database has of them. `event` is what is sent, `signing` proves who sent it, `addresses` says
where it may go, `sending` takes it there, `retries` says when to try again. `process` is the process that does it all.
"""
