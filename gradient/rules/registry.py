"""The rules by operation: each file of this folder adds its own with `rule`."""

from collections.abc import Callable, Sequence

from f2at.gradient.builder import Builder, Node

# Of each input in turn, the name of its gradient; None, or nothing at the end, where it has none or needs none.
Gradients = Sequence[str | None]
Rule = Callable[[Builder, Node, str], Gradients]
RuleOfAll = Callable[[Builder, Node, Sequence[str | None]], Gradients]

RULES: dict[str, RuleOfAll] = {}


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations with one output that matters, the first: it takes the gradient of that."""

    def register(function: Rule) -> Rule:
        def of_all(builder: Builder, node: Node, gradients: Sequence[str | None]) -> Gradients:
            first = gradients[0]
            return () if first is None else function(builder, node, first)

        RULES.update(dict.fromkeys(operations, of_all))
        return function

    return register


def rule_of_all_outputs(*operations: str) -> Callable[[RuleOfAll], RuleOfAll]:
    """Register a rule that takes the gradients of all outputs, None for those without."""

    def register(function: RuleOfAll) -> RuleOfAll:
        RULES.update(dict.fromkeys(operations, function))
        return function

    return register
