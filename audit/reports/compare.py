"""Two reports side by side: what changed, and whether by more than the draw of the images explains."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from f2at.audit.provenance.repetition import model_name
from f2at.audit.reports.corruption_error import corruption_error
from f2at.audit.reports.difference import independent_interval, mcnemar_exact, paired_interval
from f2at.audit.reports.statistics import CONFIDENCE, proportion
from f2at.audit.suites import accuracy_name

BETTER, WORSE, SAME = "better", "worse", "no difference beyond chance"
FAIL_ON = ("worse", "any")
PAIRED = "the same images: McNemar's exact test; interval by Newcombe's method 10 for paired proportions"
UNPAIRED = "not the same images, so no paired test: decided by Newcombe's score interval for independent proportions"

Report = Mapping[str, Any]


def compare_reports(baseline: Report, candidate: Report) -> dict[str, Any]:
    """Compare a candidate's report with a baseline's.

    Clean and worst-case accuracy are each tested at level 0.05; all else is shown as it is. On the same images
    McNemar's exact test decides, on others whether the interval leaves out 0. Both speak of the draw of the images, not
    of training the model again.

    Args:
        baseline: a report, as `f2at.audit.reports.files.read_report` returns it.
        candidate: another. Differences are candidate minus baseline.

    Returns:
        JSON values. "clean" and "robust": both accuracies, "difference" with its interval "low" to "high", how many
        images only one of the two gets right, "p_value" (None where not paired) and "verdict". "same_attacks": where
        False, a verdict on robust accuracy may be one on the attacks. "warnings": every way in which the audits
        differ. "accuracy": what robust accuracy is called, by what the attacks know. "threats": of each beside the
        ball, what both withstand, "change" as for robust accuracy (None where only one audit has it), "same_attacks",
        and "gated", whether it counts for the threshold of either audit. "corruption_error": see `corruption_error`.
        "attacks", "classes", "corruptions",
        "flags", "median_minimal_perturbation" and "cost", of both.

    Raises:
        ValueError: the threat models differ, in norm or effective eps.
    """
    threats = [f"{r['threat_model']['norm']} eps {r['threat_model']['effective_eps']}" for r in (baseline, candidate)]
    if threats[0] != threats[1]:
        raise ValueError(f"reports must share norm and eps to be compared; got {threats[0]} and {threats[1]}")
    paired = _images(baseline) == _images(candidate)
    other_attacks = list(_other_attacks(baseline, candidate))
    return {
        "threat_model": baseline["threat_model"],
        "models": _of_both(lambda r: r["model"].get("digest"), baseline, candidate),
        "names": _of_both(model_name, baseline, candidate),
        "paired": paired,
        "method": PAIRED if paired else UNPAIRED,
        "same_attacks": not other_attacks,
        "warnings": [*other_attacks, *_other_circumstances(baseline, candidate)],
        "clean": _accuracy(_outcomes(baseline, _is_right), _outcomes(candidate, _is_right), paired=paired),
        "robust": _accuracy(_outcomes(baseline, _is_robust), _outcomes(candidate, _is_robust), paired=paired),
        "accuracy": _name_of_both(baseline, candidate),
        "attacks": _by_name(baseline["attacks"], candidate["attacks"], ("attempted", "broken", "robust", "alone")),
        "corruption_error": corruption_error(baseline, candidate),
        "threats": list(_threats(baseline, candidate, paired=paired)),
        "classes": _by_name(baseline["classes"], candidate["classes"], ("n", "clean", "robust")),
        "corruptions": _by_name(baseline["corruptions"], candidate["corruptions"], ("k", "n", "value", "low", "high")),
        "flags": _flags(baseline, candidate),
        "median_minimal_perturbation": _of_both(
            lambda r: r["curve"] and r["curve"]["median_minimal_perturbation"], baseline, candidate
        ),
        "cost": _of_both(_cost, baseline, candidate),
    }


def gate(
    comparison: Mapping[str, Any],
    *,
    tolerance: float | None = None,
    tolerance_clean: float | None = None,
    tolerance_robust: float | None = None,
    fail_on: str = "worse",
    threats: Collection[str] = (),
) -> str:
    """Whether a deployment may proceed: "pass", "fail" or "inconclusive".

    Without a tolerance the candidate fails where it is worse beyond chance: few images let almost anything pass. With
    one it must prove itself: it passes where the whole interval of the difference lies above -tolerance
    (non-inferiority, one-sided level 0.025), fails where it lies below, and otherwise more images are needed. Clean and
    robust accuracy must both pass, and what stands under each threat that counts. A pass under other attacks than the
    baseline's is inconclusive: they may be weaker; so is one on a threat that only one audit has.

    Args:
        comparison: what `compare_reports` returns.
        tolerance: the loss to put up with, in percentage points; None for the plain test.
        tolerance_clean: the same for clean accuracy alone.
        tolerance_robust: the same for robust accuracy alone.
        fail_on: "worse", or "any" to fail also on a sanity flag newly raised and on audits that differ.
        threats: those that count besides the threats that count for the threshold of either audit, as reports name
            them; what is put up with is that of robust accuracy.

    Raises:
        ValueError: naming the argument, what is accepted and what came.
    """
    if fail_on not in FAIL_ON:
        raise ValueError(f"fail_on must be one of {', '.join(FAIL_ON)}; got {fail_on!r}")
    counting = counting_threats(comparison, threats)
    tolerances = tolerances_of(tolerance=tolerance, tolerance_clean=tolerance_clean, tolerance_robust=tolerance_robust)
    outcomes = {_against(comparison[name], allowed) for name, allowed in tolerances.items()}
    for row in counting:
        outcomes.add(_against(row["change"], tolerances["robust"]) if row["change"] else "inconclusive")
        outcomes.add("pass" if row["same_attacks"] else "inconclusive")
    if "fail" in outcomes or (fail_on == "any" and (comparison["warnings"] or comparison["flags"]["raised"])):
        return "fail"
    return "inconclusive" if "inconclusive" in outcomes or not comparison["same_attacks"] else "pass"


def counting_threats(comparison: Mapping[str, Any], named: Collection[str]) -> list[Mapping[str, Any]]:
    """The threats that `gate` goes by: those that count for the threshold of either audit, and those named besides."""
    known = [row["name"] for row in comparison["threats"]]
    for name in named:
        if name not in known:
            raise ValueError(f"threats must be among those of the reports ({', '.join(known) or 'none'}); got {name!r}")
    return [row for row in comparison["threats"] if row["gated"] or row["name"] in named]


def tolerances_of(**given: float | None) -> dict[str, float | None]:
    """The loss to put up with, in percentage points, of each accuracy, by the arguments of `gate`."""
    for name, value in given.items():
        if value is not None and not 0 <= value <= 100:
            raise ValueError(f"{name} must be from 0 to 100 percentage points; got {value}")
    own = {name: given[f"tolerance_{name}"] for name in ("clean", "robust")}
    return {name: given["tolerance"] if value is None else value for name, value in own.items()}


def _against(difference: Mapping[str, Any], tolerance: float | None) -> str:
    """One accuracy held against the loss to put up with."""
    if tolerance is None:
        return "fail" if difference["verdict"] == WORSE else "pass"
    if 100 * difference["high"] < -tolerance:
        return "fail"
    return "inconclusive" if 100 * difference["low"] < -tolerance else "pass"


def _is_right(sample: Mapping[str, Any]) -> bool:
    return bool(sample["prediction"] == sample["label"])


def _is_robust(sample: Mapping[str, Any]) -> bool:
    return _is_right(sample) and sample["broken_by"] is None


class _Images(NamedTuple):
    """Which images were drawn: the data's digest, the places in it, and, where that has none, a digest of pixels."""

    data: str
    places: frozenset[int]
    pixels: str | None


def _images(report: Report) -> _Images:
    data = report["data"]
    return _Images(data["sha256"], frozenset(s["index"] for s in report["samples"]), data.get("drawn_sha256"))


def _of_both(part: Callable[[Report], Any], baseline: Report, candidate: Report) -> dict[str, Any]:
    return {"baseline": part(baseline), "candidate": part(candidate)}


def _outcomes(report: Report, good: Callable[[Mapping[str, Any]], bool]) -> dict[int, bool]:
    """Of each image, by its place in the data."""
    return {sample["index"]: good(sample) for sample in report["samples"]}


def _standing(report: Report, section: Mapping[str, Any]) -> dict[int, bool]:
    """Which images are right and withstand a threat beside the ball."""
    fallen = {row["index"] for row in section["fallen"]}
    return _outcomes(report, lambda sample: _is_right(sample) and sample["index"] not in fallen)


def _accuracy(old: Mapping[int, bool], new: Mapping[int, bool], *, paired: bool) -> dict[str, Any]:
    """How many images have a good outcome, and whether the difference is more than chance."""
    k_old, k_new = sum(old.values()), sum(new.values())
    only_old = only_new = p_value = None
    if paired:
        both = sum(old[i] and new[i] for i in old)
        only_old, only_new = k_old - both, k_new - both
        p_value = mcnemar_exact(only_old, only_new)
        low, high = paired_interval(both, only_new, only_old, len(old) - both - only_old - only_new)
        beyond_chance = p_value < 1 - CONFIDENCE
    else:
        low, high = independent_interval((k_new, len(new)), (k_old, len(old)))
        beyond_chance = not low <= 0 <= high
    difference = k_new / len(new) - k_old / len(old)
    return {
        "baseline": proportion(k_old, len(old)),
        "candidate": proportion(k_new, len(new)),
        "difference": difference,
        "low": low,
        "high": high,
        "confidence": CONFIDENCE,
        "only_baseline": only_old,
        "only_candidate": only_new,
        "p_value": p_value,
        "verdict": (BETTER if difference > 0 else WORSE) if beyond_chance else SAME,
    }


def _name_of_both(*reports: Report) -> str:
    """What the accuracy under attack is called where it has that name in every report."""
    known = [set(report["threat_model"]["knowledge"]) for report in reports]
    weaker = [each for each in known if "white-box" not in each]
    return accuracy_name(set().union(*(weaker or known)))


def _unlike(name: str, old: Any, new: Any) -> Iterator[str]:
    if old != new:
        yield f"{name}: {old} against {new}"


def _other_attacks(baseline: Report, candidate: Report) -> Iterator[str]:
    """How the attacks differ, baseline first: a robust accuracy holds under these attacks only."""
    both = (baseline, candidate)
    yield from _unlike("surrogate", *((r.get("surrogate") or {}).get("digest") for r in both))
    yield from _unlike("attacks", *(", ".join(a["name"] for a in r["attacks"]) for r in both))
    new_attacks = {a["name"]: a for a in candidate["attacks"]}
    for old in baseline["attacks"]:
        yield from _other_settings(old["name"], old, new_attacks.get(old["name"], old))
    for title in ("iterations", "curve"):  # these break images too
        old, new = ((report.get(title) or {}).get("attack") for report in both)
        yield from _other_settings(title, old, new)


def _other_settings(title: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    names = [attack and attack["name"] for attack in (old, new)]
    if old is None or new is None or names[0] != names[1]:
        yield from _unlike(title, *names)
        return
    beside = ("every", "on", "allowed_queries")
    settings = [{**{name: a.get(name) for name in beside}, **a["parameters"]} for a in (old, new)]
    for key in sorted(settings[0].keys() | settings[1].keys()):
        yield from _unlike(f"{title}, {key}", *(s.get(key) for s in settings))


def _other_circumstances(baseline: Report, candidate: Report) -> Iterator[str]:
    """All else in which two audits of the same threat model differ, baseline first."""
    both = (baseline, candidate)
    yield from _unlike("suite", *(r["request"]["suite"] for r in both))
    yield from _unlike("seed", *(r["request"]["seed"] for r in both))
    then, now = map(_images, both)
    if then.data != now.data:
        yield "data: other images or labels"
    elif then.places != now.places:
        shared = len(then.places & now.places)
        yield f"samples: other draws from the same data, with {shared} images in common"
    elif then.pixels != now.pixels:
        yield "data: other pictures under the same names"
    yield from _unlike("number of samples", *(len(r["samples"]) for r in both))
    yield from _unlike("classes", *(", ".join(r["model"]["classes"]) for r in both))
    yield from _unlike("input size", *(" x ".join(map(str, r["model"]["input_size"])) for r in both))
    if baseline["curve"] and candidate["curve"]:
        yield from _unlike("radii of the curve", *(", ".join(p["eps"] for p in r["curve"]["points"]) for r in both))


def _threats(baseline: Report, candidate: Report, *, paired: bool) -> Iterator[dict[str, Any]]:
    """What both withstand of each threat beside the ball, in the baseline's order."""
    old, new = ({section["threat"]: section for section in report["threats"]} for report in (baseline, candidate))
    gated = {*baseline["request"]["gate"], *candidate["request"]["gate"]}
    for name in dict.fromkeys([*old, *new]):
        sides = {"baseline": old.get(name), "candidate": new.get(name)}
        change, same = None, False
        if name in old and name in new:
            standing = (_standing(baseline, old[name]), _standing(candidate, new[name]))
            change = _accuracy(*standing, paired=paired)
            same = _attacks_of(old[name]) == _attacks_of(new[name])
        yield {
            "name": name,
            **{side: found and {key: found[key] for key in ("robust", "strength")} for side, found in sides.items()},
            "change": change,
            "same_attacks": same,
            "gated": name in gated,
        }


def _attacks_of(section: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What was tried, with its settings: attacks, or the candidates of a scan."""
    attacks = [(attack["name"], attack["parameters"], attack["every"]) for attack in section["attacks"]]
    return [*attacks, *((row["name"],) for row in section["scan"] or ())]


def _by_name(old: list[Mapping[str, Any]], new: list[Mapping[str, Any]], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of two tables joined by name, in the baseline's order; None where one has no such row."""
    tables = {"baseline": {row["name"]: row for row in old}, "candidate": {row["name"]: row for row in new}}
    return [
        {
            "name": name,
            **{
                side: {key: rows[name].get(key) for key in keys} if name in rows else None
                for side, rows in tables.items()
            },
        }
        for name in dict.fromkeys([*tables["baseline"], *tables["candidate"]])
    ]


def _flags(baseline: Report, candidate: Report) -> dict[str, list[dict[str, Any]]]:
    """Flags newly raised, no longer raised, and raised in both."""
    old, new = ({f["name"]: f for f in report["flags"] if f["raised"]} for report in (baseline, candidate))
    return {
        "raised": [flag for name, flag in new.items() if name not in old],
        "cleared": [flag for name, flag in old.items() if name not in new],
        "in_both": [flag for name, flag in new.items() if name in old],
    }


def _cost(report: Report) -> dict[str, Any]:
    return {
        "forward_evaluations": sum(a["forward_evaluations"] for a in report["attacks"]),
        "gradient_evaluations": sum(a["gradient_evaluations"] for a in report["attacks"]),
        "total_seconds": report["run"]["total_seconds"],
        "model_seconds": report["run"].get("model_seconds"),
    }
