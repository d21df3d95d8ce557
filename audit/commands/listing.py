"""`f2at list` and `f2at schema`: what may be asked for, and the form of the answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from f2at.attacks.attack import Attack
from f2at.attacks.registry import ATTACKS
from f2at.attacks.threat import NORMS
from f2at.audit.reports.schema import report_schema
from f2at.audit.suites import CUSTOM, SUITES, Suite
from f2at.audit.threats.registry import THREATS
from f2at.command_line import Parser


def run_list(arguments: Sequence[str]) -> int:
    """Print suites and attacks."""
    parser = Parser(
        prog="f2at list",
        description="Print the suites for --suite, and the attacks for --attack and threats for --threat with their "
        "parameters.",
    )
    parser.parse_args(arguments)
    print("Suites, for --suite NAME\n")
    for name, suite in SUITES.items():
        print(f"{name}: {suite.title}")
        print(f"  {suite.strength}: {suite.claims}")
        for attack in suite.attacks:
            print(f"  {_entry(attack)}{_how(suite, attack)}")
    print(f"{CUSTOM}: the attacks given by --attack, in that order\n")
    print("Attacks, for --attack NAME[:parameter=value,...], with their defaults\n")
    for attack in ATTACKS.values():
        print(f"{attack.name}: {attack.title}, {attack.paper}")
        print(f"  {attack.knowledge}, {' and '.join(attack.norms)}")
        print(f"  {_values(attack.parameters).replace(',', ', ')}")
    print("\nThreats, for --threat NAME[:parameter=value,...], with their defaults\n")
    for kind in THREATS.values():
        threat = kind.of({})
        print(f"{threat.text}: {threat.title}")
        print(f"  {threat.definition}")
        print(f"  who meets it: {threat.met[:1].lower()}{threat.met[1:]}")
        for entry in fields(threat):
            print(f"  {entry.name}: {entry.metadata['description']}")
    return 0


def run_schema(arguments: Sequence[str]) -> int:
    """Print the JSON Schema of reports."""
    parser = Parser(prog="f2at schema", description="Print the JSON Schema of reports.")
    parser.parse_args(arguments)
    print(json.dumps(report_schema(), indent=2))
    return 0


def _entry(attack: Attack) -> str:
    """An attack of a suite as --attack takes it: with the parameters in which it differs from the registry's."""
    origin = ATTACKS.get(attack.name) or next(a for a in ATTACKS.values() if a.function is attack.function)
    changed = {key: value for key, value in attack.parameters.items() if value != origin.parameters[key]}
    if attack.name != origin.name:
        changed["as"] = attack.name
    return origin.name + (f":{_values(changed)}" if changed else "")


def _how(suite: Suite, attack: Attack) -> str:
    notes = [
        *([f"{' and '.join(attack.norms)} only"] if attack.norms != NORMS else []),
        *([f"on one image in {suite.every[attack.name]}"] if attack.name in suite.every else []),
        *(["on every image"] if attack.name in suite.alone else []),
    ]
    return f" ({', '.join(notes)})" if notes else ""


def _values(parameters: Mapping[str, Any]) -> str:
    return ",".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in parameters.items())
