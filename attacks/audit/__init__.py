"""The audit: a plan of attacks on a deployed model, run step by step, and the report they add up to."""

from attacks.audit.plan import Audit, Step, run_audit
from attacks.audit.request import AuditRequest

__all__ = ["Audit", "AuditRequest", "Step", "run_audit"]
