"""Recurrent layers: LSTM, GRU and RNN, each a Scan over time in the direction against the layer's own.

A layer gives its states h at all times, and its gates at a time are functions of the input and of the state before.
So the gates of all times are had at once, by one product of matrices, and what is left to a loop is the little that
must be: of a step's gates, the gradients by what goes into them, and by the state before.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.registry import Gradients, rule_of_all_outputs

_USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_TIME = 0  # the axis of times, in sequences (T, N, H)
# From a step's states and what it takes of sequences, both by name, to its new states and what it adds to sequences.
_Step = Callable[[Builder, Sequence[str], Sequence[str]], tuple[Sequence[str], Sequence[str]]]


@dataclass(frozen=True)
class _Direction:
    """One direction of a layer, T times, N samples, I inputs, H units and G gates; all but `later` are names.

    Attributes:
        x: the input, (T, N, I).
        h: the states, (T, N, H).
        before: the states that each of them came from, (T, N, H).
        cell: the first state of an LSTM's cells, (N, H).
        weights: of the input, (GH, I).
        recurrent: weights of the state, (GH, H).
        biases: of the two, (GH,) each, or none.
        dh: the gradient of the states, (T, N, H).
        dh_last: of the last state besides, (N, H).
        dcell: of the last state of the cells, (N, H).
        backwards: whether the layer runs from the last time to the first.
    """

    x: str
    h: str
    before: str
    cell: str
    weights: str
    recurrent: str
    biases: Sequence[str]
    dh: str
    dh_last: str
    dcell: str
    backwards: bool


# What a direction's pass gives: the gradients by the gates' sums, (T, N, GH), by the first state and the first cells.
_Pass = tuple[str, str, str]


@rule_of_all_outputs("LSTM", "GRU", "RNN")
def recurrent(b: Builder, node: Node, gradients: Sequence[str | None]) -> Gradients:
    """dX = dZ W, Z = X W^T + H R^T + biases the sums that the gates are made of, summed over the directions."""
    _refuse_what_is_unusual(b, node)
    states = node.outputs[0] or b.several(node.operation, *node.inputs, outputs=1, **node.attributes)[0]
    way = node.attributes.get("direction", "forward")
    dx: list[str] = []
    states_before: list[tuple[str, str]] = []
    for k, backwards in enumerate({"forward": (False,), "reverse": (True,)}.get(way, (False, True))):
        direction = _direction(b, node, k, states, gradients, backwards=backwards)
        if node.operation == "GRU":
            dz, dfirst, dcell = _gru(b, direction, reset_before=not node.attributes.get("linear_before_reset", 0))
        else:
            dz, dfirst, dcell = (_lstm if node.operation == "LSTM" else _rnn)(b, direction)
        dx.append(b("MatMul", dz, direction.weights))
        states_before.append((dfirst, dcell))
    total = dx[0] if len(dx) == 1 else b("Add", *dx)
    results: list[str | None] = [total, None, None, None, None, None, None]
    for index, parts in enumerate(zip(*states_before, strict=True), start=5):
        if b.active(node.optional_input(index) or ""):
            results[index] = b("Concat", *(b("Unsqueeze", part, b.integers(0)) for part in parts), axis=0)
    return results


def _refuse_what_is_unusual(b: Builder, node: Node) -> None:
    directions = b.tensors[node.inputs[1]].shape[0]
    functions = [_decoded(name) for name in node.attributes.get("activations", _USUAL[node.operation] * directions)]
    unusual = {
        "weights that are computed": any(b.active(name) for name in [*node.inputs[1:4], *node.inputs[7:]]),
        "sequences of different lengths": node.optional_input(4) is not None,
        "peepholes": node.optional_input(7) is not None,
        f"activations {functions}": functions != list(_USUAL[node.operation] * directions),
        "clip": bool(node.attributes.get("clip")),
        "input_forget": bool(node.attributes.get("input_forget")),
        "layout=1": bool(node.attributes.get("layout")),
    }
    for what, is_so in unusual.items():
        if is_so:
            raise UnsupportedOperationError(f"{node.operation} with {what}")


def _decoded(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _direction(
    b: Builder, node: Node, k: int, states: str, gradients: Sequence[str | None], *, backwards: bool
) -> _Direction:
    x, weights, recurrent = node.inputs[:3]
    units = b.tensors[recurrent].shape[2]

    def of(name: str | None, axis: int) -> str | None:
        return None if name is None else b("Gather", name, b.constant(np.array(k)), axis=axis)

    h = b("Gather", states, b.constant(np.array(k)), axis=1)
    zeros = b("ConstantOfShape", b("Shape", h), value=helper.make_tensor("zero", _kind(b), [1], [0]))
    zero = b("Gather", zeros, b.constant(np.array(0)), axis=_TIME)  # (N, H)
    first = of(node.optional_input(5), 0) or zero
    dh, dlast, dcell = (*gradients, None, None)[:3]
    biases = of(node.optional_input(3), 0)
    return _Direction(
        x=x,
        h=h,
        before=_before(b, h, first, backwards=backwards),
        cell=of(node.optional_input(6), 0) or zero,
        weights=b("Gather", weights, b.constant(np.array(k)), axis=0),
        recurrent=b("Reshape", b("Gather", recurrent, b.constant(np.array(k)), axis=0), b.integers(-1, units)),
        biases=[] if biases is None else _split(b, biases, 2),
        dh=of(dh, 1) or zeros,
        dh_last=of(dlast, 0) or zero,
        dcell=of(dcell, 0) or zero,
        backwards=backwards,
    )


def _lstm(b: Builder, d: _Direction) -> _Pass:
    """c = f c' + i g and h = o tanh(c), where i, o, f are sigmoids and g is a tanh of sums; c' is the cell before."""
    *sums, last = _split(b, _sums(b, [(d.x, d.weights), (d.before, d.recurrent)], d.biases), _GATES["LSTM"])
    i, o, f = (b("Sigmoid", part) for part in sums)
    g = b("Tanh", last)

    def cells(body: Builder, states: Sequence[str], now: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        (cell,), (kept, added) = states, now
        after = body("Add", body("Mul", kept, cell), added)
        return [after], [body("Identity", cell), body("Identity", after)]

    _, (before, cell) = _scan(b, cells, [d.cell], [f, b("Mul", i, g)], backwards=d.backwards)
    squashed = b("Tanh", cell)
    slopes = [
        b("Mul", g, _sigmoid_slope(b, i)),
        b("Mul", squashed, _sigmoid_slope(b, o)),
        b("Mul", before, _sigmoid_slope(b, f)),
        b("Mul", i, _tanh_slope(b, g)),
        b("Mul", o, _tanh_slope(b, squashed)),
        f,
    ]

    def step(body: Builder, states: Sequence[str], now: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        (dh, dcell), (dh_here, by_i, by_o, by_f, by_g, by_cell, kept) = states, now
        dh = body("Add", dh, dh_here)
        dcell = body("Add", dcell, body("Mul", dh, by_cell))
        parts = [
            body("Mul", total, slope) for total, slope in ((dcell, by_i), (dh, by_o), (dcell, by_f), (dcell, by_g))
        ]
        dz = body("Concat", *parts, axis=1)
        return [body("MatMul", dz, d.recurrent), body("Mul", dcell, kept)], [dz]

    (dfirst, dcell), (dz,) = _scan(b, step, [d.dh_last, d.dcell], [d.dh, *slopes], backwards=not d.backwards)
    return dz, dfirst, dcell


def _gru(b: Builder, d: _Direction, *, reset_before: bool) -> _Pass:
    """h = (1 - z) n + z h', z and r sigmoids of sums; n = tanh(x W + r (h' R + bias)), or of x W + (r h') R + bias."""
    of_x = _split(b, _sums(b, [(d.x, d.weights)], d.biases[:1]), _GATES["GRU"])
    of_h = _split(b, _sums(b, [(d.before, d.recurrent)], d.biases[1:]), _GATES["GRU"])
    z, r = (b("Sigmoid", b("Add", of_x[gate], of_h[gate])) for gate in (0, 1))
    update, reset, candidate = _split(b, d.recurrent, _GATES["GRU"], axis=0)
    if reset_before:
        bias = [_split(b, bias, _GATES["GRU"])[2] for bias in d.biases[1:]]
        inner, told = d.before, _sums(b, [(b("Mul", r, d.before), candidate)], bias)
    else:
        inner, told = of_h[2], b("Mul", r, of_h[2])
    n = b("Tanh", b("Add", of_x[2], told))
    by_r = b("Mul", inner, _sigmoid_slope(b, r))
    rest = b("Sub", b.scalar(1), z)
    by_z, by_n = b("Mul", b("Sub", d.before, n), _sigmoid_slope(b, z)), b("Mul", rest, _tanh_slope(b, n))

    def step(body: Builder, states: Sequence[str], now: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        (dh,), (dh_here, by_z, by_n, by_r, z, r) = states, now
        dh = body("Add", dh, dh_here)
        dz, dn = body("Mul", dh, by_z), body("Mul", dh, by_n)
        through = body("MatMul", dn, candidate) if reset_before else dn
        dr = body("Mul", through, by_r)
        by_candidate = body("Mul", through, r)
        if not reset_before:
            by_candidate = body("MatMul", by_candidate, candidate)
        parts = [body("Mul", dh, z), body("MatMul", dz, update), body("MatMul", dr, reset), by_candidate]
        return [body("Sum", *parts)], [body("Concat", dz, dr, dn, axis=1)]

    (dfirst,), (dz,) = _scan(b, step, [d.dh_last], [d.dh, by_z, by_n, by_r, z, r], backwards=not d.backwards)
    return dz, dfirst, d.dcell


def _rnn(b: Builder, d: _Direction) -> _Pass:
    """h = tanh(z)."""

    def step(body: Builder, states: Sequence[str], now: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        dz = body("Mul", body("Add", states[0], now[0]), now[1])
        return [body("MatMul", dz, d.recurrent)], [dz]

    (dfirst,), (dz,) = _scan(b, step, [d.dh_last], [d.dh, _tanh_slope(b, d.h)], backwards=not d.backwards)
    return dz, dfirst, d.dcell


def _sums(b: Builder, products: Sequence[tuple[str, str]], biases: Sequence[str]) -> str:
    """The sum of the products X W^T, for pairs of X and W, and of the biases."""
    terms = [b("MatMul", x, b("Transpose", weights, perm=[1, 0])) for x, weights in products]
    return functools.reduce(lambda left, right: b("Add", left, right), [*terms, *biases])


def _split(b: Builder, name: str, parts: int, axis: int = -1) -> list[str]:
    return b.several("Split", name, outputs=parts, axis=axis, num_outputs=parts)


def _before(b: Builder, h: str, first: str, *, backwards: bool) -> str:
    """The state before each one, of states (T, N, H), the first of them (N, H)."""
    start = b("Unsqueeze", first, b.integers(_TIME))
    if backwards:
        return b("Concat", b("Slice", h, b.integers(1), b.integers(sys.maxsize), b.integers(_TIME)), start, axis=_TIME)
    return b("Concat", start, b("Slice", h, b.integers(0), b.integers(-1), b.integers(_TIME)), axis=_TIME)


def _sigmoid_slope(b: Builder, s: str) -> str:
    return b("Mul", s, b("Sub", b.scalar(1), s))


def _tanh_slope(b: Builder, t: str) -> str:
    return b("Sub", b.scalar(1), b("Mul", t, t))


def _scan(
    b: Builder, step: _Step, states: Sequence[str], sequences: Sequence[str], *, backwards: bool
) -> tuple[list[str], list[str]]:
    """The last states, and what each step adds to sequences, in the order of times whichever way it runs.

    Args:
        b: writes the Scan.
        step: what is done at one time.
        states: the first ones, (N, H).
        sequences: (T, N, H); each step takes its part of them.
        backwards: from the last time to the first.
    """
    body = Builder({}, prefix=f"{b.name('step')}/")
    body.real = b.real
    held, taken = ([body.name(hint) for _ in names] for hint, names in (("state", states), ("part", sequences)))
    after, added = step(body, held, taken)

    def described(names: Sequence[str]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, _kind(b), [None, None]) for name in names]

    graph = helper.make_graph(
        body.nodes, "step", described([*held, *taken]), described([*after, *added]), body.initializers
    )
    outputs = b.several(
        "Scan",
        *states,
        *sequences,
        outputs=len(after) + len(added),
        body=graph,
        num_scan_inputs=len(sequences),
        scan_input_directions=[int(backwards)] * len(sequences),
        scan_output_directions=[int(backwards)] * len(added),
    )
    return outputs[: len(after)], outputs[len(after) :]


def _kind(b: Builder) -> int:
    return helper.np_dtype_to_tensor_dtype(b.real)
