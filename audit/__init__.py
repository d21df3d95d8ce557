"""The audit: a plan of attacks on a deployed model, run step by step, and the report they add up to."""

from f2at.audit.perform import perform, run_audit
from f2at.audit.plan import Audit
from f2at.audit.request import AuditRequest
from f2at.audit.steps import Step

__all__ = ["Audit", "AuditRequest", "Step", "perform", "run_audit"]
