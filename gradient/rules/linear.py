"""Products of matrices."""

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.registry import Gradients, rule
from f2at.gradient.rules.rounding import less_zero_point


@rule("MatMul")
def matmul(b: Builder, node: Node, gradient: str) -> Gradients:
    """dA = dY B^T and dB = A^T dY, with numpy's broadcasting; vectors are matrices of one row or column."""
    left, right = node.inputs
    left_shape, right_shape, shape = (b.tensors[name].shape for name in (left, right, node.outputs[0]))
    if len(right_shape) == 1:
        gradient, shape = b("Unsqueeze", gradient, b.integers(-1)), (*shape, 1)
        right, right_shape = b("Unsqueeze", right, b.integers(-1)), (*right_shape, 1)
    if len(left_shape) == 1:
        gradient, shape = b("Unsqueeze", gradient, b.integers(-2)), (*shape[:-1], 1, shape[-1])
        left, left_shape = b("Unsqueeze", left, b.integers(0)), (1, *left_shape)
    results: list[str | None] = [None, None]
    if b.active(node.inputs[0]):
        product = b("MatMul", gradient, _transposed(b, right, len(right_shape)))
        results[0] = _summed(b, product, (*shape[:-1], right_shape[-2]), node.inputs[0], left_shape)
    if b.active(node.inputs[1]):
        product = b("MatMul", _transposed(b, left, len(left_shape)), gradient)
        results[1] = _summed(b, product, (*shape[:-2], left_shape[-1], shape[-1]), node.inputs[1], right_shape)
    return results


@rule("MatMulInteger")
def matmul_of_integers(b: Builder, node: Node, gradient: str) -> Gradients:
    """dA = dY B^T, B the weights less their zero point."""
    left, right, shape = (b.tensors[name].shape for name in (*node.inputs[:2], node.outputs[0]))
    if min(len(left), len(right)) < 2:
        raise UnsupportedOperationError("MatMulInteger of vectors")
    product = b("MatMul", gradient, _transposed(b, less_zero_point(b, node, 1, 3), len(right)))
    return [_summed(b, product, (*shape[:-1], right[-2]), node.inputs[0], left)]


@rule("Gemm")
def gemm(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of alpha A' B' + beta C, where ' may transpose."""
    left, right = node.inputs[:2]
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    left_turned, right_turned = (node.attributes.get(name, 0) for name in ("transA", "transB"))
    results: list[str | None] = [None, None]
    if b.active(left):
        results[0] = (
            b("Gemm", right, gradient, alpha=alpha, transA=right_turned, transB=1)
            if left_turned
            else b("Gemm", gradient, right, alpha=alpha, transB=1 - right_turned)
        )
    if b.active(right):
        results[1] = (
            b("Gemm", gradient, left, alpha=alpha, transA=1, transB=left_turned)
            if right_turned
            else b("Gemm", left, gradient, alpha=alpha, transA=1 - left_turned)
        )
    if bias := node.optional_input(2):
        scaled = gradient if beta == 1 else b("Mul", gradient, b.scalar(beta))
        shape = b.tensors[node.outputs[0]].shape
        results.append(b.unbroadcast(scaled, shape, bias) if b.active(bias) else None)
    return results


@rule("Einsum")
def einsum(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of two factors: an Einsum of the gradient and the other, where no axis is summed or repeated in one alone."""
    equation = node.attributes["equation"].replace(" ", "")
    terms, _, result = equation.partition("->")
    factors = terms.split(",")
    wanted = [set(term) <= set(result).union(*factors[:k], *factors[k + 1 :]) for k, term in enumerate(factors)]
    if "." in equation or "->" not in equation or len(factors) != 2 or not all(wanted):
        raise UnsupportedOperationError(f"Einsum {equation!r}")
    left, right = node.inputs
    return [
        b("Einsum", gradient, right, equation=f"{result},{factors[1]}->{factors[0]}") if b.active(left) else None,
        b("Einsum", left, gradient, equation=f"{factors[0]},{result}->{factors[1]}") if b.active(right) else None,
    ]


def _transposed(b: Builder, name: str, rank: int) -> str:
    order = list(range(rank))
    order[-2:] = reversed(order[-2:])
    return b("Transpose", name, perm=order)


def _summed(b: Builder, product: str, shape: tuple[int, ...], name: str, matrix: tuple[int, ...]) -> str:
    """A gradient of `shape` as one of `name`, which was used with the shape `matrix`."""
    product = b.sum_to(product, shape, matrix)
    return b.reshaped(product, name) if len(matrix) != b.rank(name) else product
