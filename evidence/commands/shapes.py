"""`f2at audit` and `f2at compare`, with the files that pipelines read of what they find."""

from collections.abc import Callable, Sequence

from f2at.audit.commands import audit, compare
from f2at.audit.commands.shapes import Shape
from f2at.evidence.findings import Findings, of_comparison, of_report
from f2at.evidence.junit import junit
from f2at.evidence.sarif import sarif
from f2at.evidence.summary import summary


def run_audit(arguments: Sequence[str]) -> int:
    """Audit, and write what is found in the shapes that are asked for."""
    return audit.run(arguments, shapes=_shapes(of_report))


def run_compare(arguments: Sequence[str]) -> int:
    """Compare, and write what is found in the shapes that are asked for."""
    return compare.run(arguments, shapes=_shapes(of_comparison))


def _shapes(findings: Callable[..., Findings]) -> list[Shape]:
    def of(shape: Callable[[Findings], str]) -> Callable[..., str]:
        return lambda *found: shape(findings(*found))

    return [
        Shape("junit", "also write JUnit XML, for the test reports of a pipeline", of(junit)),
        Shape("sarif", "also write SARIF 2.1.0, for viewers of findings, such as code scanning", of(sarif)),
        Shape("summary", "also write Markdown, for the page of a pipeline's run", of(summary)),
    ]
