"""Audits as durable jobs: submitted by the server, run by worker processes, kept in a database."""
