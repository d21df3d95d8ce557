"""`f2at compare`: two reports side by side, as text or JSON, and an exit code to gate on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from f2at.audit.commands.outputs import check_outputs
from f2at.audit.commands.shapes import Shape, add_shape_options, shape_files, write_shapes
from f2at.audit.reports.compare import FAIL_ON, compare_reports, counting_threats, gate, tolerances_of
from f2at.audit.reports.files import read_report
from f2at.command_line import Parser


def _page(comparison: Mapping[str, Any], outcome: str, conclusion: str, *_: object) -> str:
    from f2at.audit.page.comparison import render_comparison  # brings the templates, which few comparisons need

    return render_comparison(comparison, conclusion, outcome)


_OWN = (Shape("html", "also write it as a page, with a picture of every difference", _page),)
EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


def run(arguments: Sequence[str], *, shapes: Sequence[Shape] = ()) -> int:
    """Compare two reports, write the shapes asked for and return the exit code.

    A shape is rendered of the comparison, the gate's outcome and its conclusion in words, the candidate's report and
    the path of that.
    """
    shapes = (*_OWN, *shapes)
    parser = _parser()
    add_shape_options(parser, shapes)
    options = parser.parse_args(arguments)
    also = shape_files(options, shapes)
    places = [(shape.option, path) for shape, path in also]
    check_outputs(places, [options.baseline, options.candidate], overwrite=options.overwrite)
    baseline, candidate = read_report(options.baseline), read_report(options.candidate)
    comparison = compare_reports(baseline, candidate)
    given = {name: getattr(options, name) for name in ("tolerance", "tolerance_clean", "tolerance_robust")}
    outcome = gate(comparison, **given, fail_on=options.fail_on, threats=options.gate)
    allowed = {f"tolerance_{name}": points for name, points in tolerances_of(**given).items()}
    counting = counting_threats(comparison, options.gate)
    judged = {
        "fail_on": options.fail_on,
        "tolerance": options.tolerance,
        **allowed,
        "threats": [row["name"] for row in counting],
        "outcome": outcome,
    }
    alike = all(row["same_attacks"] for row in (comparison, *counting))
    conclusion = _conclusion(judged, attacked=_under_attack(comparison), same_attacks=alike)
    write_shapes(also, comparison, outcome, conclusion, candidate, options.candidate)
    if options.format == "json":
        print(json.dumps({**comparison, "gate": judged}, indent=2, allow_nan=False))
    else:
        print(summary(comparison))
        print(conclusion)
        for _, path in also:
            print(path)
    return EXIT_CODES[outcome]


def summary(comparison: Mapping[str, Any]) -> str:
    """A comparison in a dozen lines or so."""
    threat, models = comparison["threat_model"], comparison["models"]
    attacked = _under_attack(comparison)
    width = max([12, *(len(name) + 2 for name in (attacked, *(row["name"] for row in comparison["threats"])))])
    lines = [
        f"baseline   {models['baseline'] or 'model without a digest'}",
        f"candidate  {'the same model' if _same(models) else models['candidate'] or 'model without a digest'}",
        f"{threat['norm']}, eps {threat['effective_eps']}; {comparison['method']}",
        "",
        f"{'accuracy':<{width}}{'baseline':>17}{'candidate':>17}  {'change':<23}{'only one right':<15}verdict",
    ]
    lines.append(_change("clean", comparison["clean"], width))
    lines.append(_change(attacked, comparison["robust"], width, same_attacks=comparison["same_attacks"]))
    for row in comparison["attacks"]:
        before, after = (_share(row[side]["robust"]) if row[side] else "-" for side in ("baseline", "candidate"))
        lines.append(f"{'  ' + row['name']:<{width}}{before:>17}{after:>17}")
    for row in comparison["threats"]:
        if row["change"]:
            lines.append(_change(row["name"], row["change"], width, same_attacks=row["same_attacks"]))
            continue
        before, after = (_share(row[side]["robust"]) if row[side] else "-" for side in ("baseline", "candidate"))
        lines.append(f"{row['name']:<{width}}{before:>17}{after:>17}")
    lines += ["", *_corruption_error(comparison)]
    lines += [f"median distance to an error: {_levels(comparison)}", f"cost: {_cost(comparison)}"]
    lines += [f"class {row['name']}, {attacked}: {change}" for row, change in _classes(comparison)]
    nothing = [side for side in ("baseline", "candidate") if _broke_nothing(comparison, side)]
    lines += [f"the attacks broke nothing of the {side}" for side in nothing]
    for kind, title in (("raised", "newly raised"), ("cleared", "no longer raised"), ("in_both", "raised in both")):
        lines += [f"flag {title}: {flag['title']} ({flag['evidence']})" for flag in comparison["flags"][kind]]
    return "\n".join(lines + [f"not alike: {warning}" for warning in comparison["warnings"]])


def _corruption_error(comparison: Mapping[str, Any]) -> list[str]:
    """mCE, and the corruptions that it is best and worst at."""
    found = comparison["corruption_error"]
    if found is None:
        return []
    ordered = sorted(found["each"], key=found["each"].__getitem__)
    low, high = (f"{found['each'][title]:.2f} for {title.lower()}" for title in (ordered[0], ordered[-1]))
    return [f"errors under corruptions (mCE), the baseline's being 1: {found['mean']:.2f}, from {low} to {high}"]


def _change(label: str, row: Mapping[str, Any], width: int, *, same_attacks: bool = True) -> str:
    """A line of the table: both shares, the difference with its interval, and what is said of it."""
    interval = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    paired = row["p_value"] is not None
    split = f"{row['only_baseline']} / {row['only_candidate']}" if paired else "-"
    p = f", p {row['p_value']:.2g}" if paired else ""
    shares = f"{_share(row['baseline']):>17}{_share(row['candidate']):>17}"
    other = "" if same_attacks else ", under other attacks"
    return f"{label:<{width}}{shares}  {interval:<23}{split:<15}{row['verdict']}{other}{p}"


def _conclusion(judged: Mapping[str, Any], *, attacked: str, same_attacks: bool) -> str:
    clean, robust = (judged[f"tolerance_{name}"] for name in ("clean", "robust"))
    parts = [_rule(clean)] if clean == robust else [f"clean {_rule(clean)}", f"{attacked} {_rule(robust)}"]
    if judged["threats"]:
        parts.append(f"the same under {', '.join(judged['threats'])}")
    strict = ", no flag newly raised, audits alike" if judged["fail_on"] == "any" else ""
    reason = "" if same_attacks or judged["outcome"] != "inconclusive" else "; audit both by the same attacks"
    return f"gate ({', '.join(parts)}{strict}): {judged['outcome']}{reason}"


def _rule(tolerance: float | None) -> str:
    return "not worse beyond chance" if tolerance is None else f"at most {tolerance:g} points worse, by the interval"


def _under_attack(comparison: Mapping[str, Any]) -> str:
    """What robust accuracy is called beside clean: "robust", or "under black-box attacks"."""
    name: str = comparison["accuracy"]
    return name.removesuffix(" accuracy").removeprefix("accuracy ")


def _broke_nothing(comparison: Mapping[str, Any], side: str) -> bool:
    clean, robust = (comparison[name][side]["k"] for name in ("clean", "robust"))
    return bool(clean == robust > 0)


def _share(accuracy: Mapping[str, Any]) -> str:
    return f"{accuracy['k']}/{accuracy['n']} {accuracy['value']:.1%}"


def _same(models: Mapping[str, Any]) -> bool:
    return models["baseline"] is not None and models["baseline"] == models["candidate"]


def _levels(comparison: Mapping[str, Any]) -> str:
    medians = [comparison["median_minimal_perturbation"][side] for side in ("baseline", "candidate")]
    return " -> ".join(_level(median) for median in medians)


def _level(median: Mapping[str, Any] | None) -> str:
    if median is None:
        return "not measured"
    return "beyond every radius" if median["levels"] is None else f"{median['levels']:g} levels"


def _cost(comparison: Mapping[str, Any]) -> str:
    costs = [comparison["cost"][side] for side in ("baseline", "candidate")]
    return " -> ".join(
        f"{c['gradient_evaluations']} gradients, {c['forward_evaluations']} queries, {c['total_seconds']:.0f} s"
        for c in costs
    )


def _classes(comparison: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """The three classes whose robust accuracy fell most; what single classes say is not tested."""
    falls = []
    for row in comparison["classes"]:
        if not (row["baseline"] and row["candidate"]):
            continue
        before, after = row["baseline"]["robust"], row["candidate"]["robust"]
        if before["n"] and after["n"] and after["value"] < before["value"]:
            falls.append((after["value"] - before["value"], row, f"{_share(before)} -> {_share(after)}"))
    return [(row, change) for _, row, change in sorted(falls, key=lambda fall: fall[0])[:3]]


def _parser() -> Parser:
    parser = Parser(
        prog="f2at compare",
        description="Compare two reports: what changed from the baseline to the candidate, and whether by more than "
        "the draw of the images explains. On the same images McNemar's exact test decides, at level 0.05 for clean and "
        "for robust accuracy.",
        epilog="exit codes: 0 the candidate passes; 2 bad input, or audits of different norm or eps; 3 it fails: clean "
        "or robust accuracy, or what stands under a threat that counts, is worse beyond chance (with a tolerance: by "
        "more than that); 4 it cannot be told: with a tolerance, more images are needed; or the attacks were not the "
        "same",
    )
    parser.add_argument("baseline", type=Path, help="report of the model that is deployed, .json")
    parser.add_argument("candidate", type=Path, help="report of the model that is to replace it, .json")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default text)")
    parser.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        default="worse",
        help="any: fail also on a sanity flag newly raised or on audits that differ (default worse)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="POINTS",
        help="loss to put up with, in percentage points; the candidate must then prove that it loses no more: the "
        "interval of the difference must not reach below -POINTS (non-inferiority)",
    )
    for name in ("clean", "robust"):
        parser.add_argument(
            f"--tolerance-{name}", type=float, metavar="POINTS", help=f"the same for {name} accuracy alone"
        )
    parser.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="THREAT",
        help="a threat of both reports that counts, as they name it, beside those that count for their thresholds; may "
        "be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser
