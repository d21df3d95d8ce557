"""Let a candidate through only if it is not worse than what is deployed; the exit code is for a pipeline.

python examples/gate_a_pipeline.py CANDIDATE_BUNDLE DEPLOYED_REPORT.json

The candidate is audited by the request in the deployed model's report, so that both are held against the same attacks.
"""

import sys
from pathlib import Path

import f2at

EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


def main(candidate: Path, deployed: Path) -> int:
    """Audit the candidate, print both accuracies, return the exit code."""
    baseline = f2at.read_report(deployed)
    report = f2at.audit_bundle(candidate, f2at.AuditRequest(**baseline["request"]))
    comparison = f2at.compare_reports(baseline, report)
    for name in ("clean", "robust"):
        row = comparison[name]
        print(f"{name}: {row['baseline']['value']:.1%} -> {row['candidate']['value']:.1%}, {row['verdict']}")
    outcome = f2at.gate(comparison)
    print(f"gate: {outcome}")
    return EXIT_CODES[outcome]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
