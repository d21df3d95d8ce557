"""Configurations from tables, TOML files and `--section.key value` flags, and back."""

import argparse
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from f2at.command_line import suggestion
from f2at.training.configuration.options import SECTIONS, Config, ConfigError
from f2at.training.methods import METHODS, Method


def config_from_table(table: Mapping[str, Any]) -> Config:
    """A configuration from a parsed TOML table.

    Raises:
        ConfigError: an unknown section or key, a value of the wrong type or out of range.
    """
    rest = {key: value for key, value in table.items() if key not in {*SECTIONS, "method"}}
    for key in (*SECTIONS, "method"):
        if not isinstance(table.get(key, {}), Mapping):
            raise ConfigError(f"{key} is a section with keys of its own; got {table[key]!r}")
    sections = {key: _build(cls, table.get(key, {}), f"{key}.") for key, cls in SECTIONS.items()}
    config: Config = _build(Config, {**rest, **sections, "method": _method(table.get("method", {}))}, "")
    return config


def config_to_table(config: Config) -> dict[str, Any]:
    """The inverse of `config_from_table`: plain values that TOML and JSON can hold; what is None is left out."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items() if item is not None}
        if isinstance(value, tuple):
            return list(value)
        return str(value) if isinstance(value, Fraction) else value

    table: dict[str, Any] = plain(asdict(config))
    table["method"] = {"name": config.method.name, **table["method"]}
    return table


def load_config(path: Path, overrides: Mapping[str, str]) -> Config:
    """Read a TOML file and apply `section.key: text` overrides to it.

    Raises:
        ConfigError: no such file, not TOML, or anything that `config_from_table` refuses.
    """
    if not path.is_file():
        raise ConfigError(f"no configuration at {path}; see configs/ for examples")
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    if "method.name" in overrides and overrides["method.name"] != table.get("method", {}).get("name"):
        table["method"] = {}  # another method has other options
    for name, text in overrides.items():
        section, _, key = name.rpartition(".")
        target = table.setdefault(section, {}) if section else table
        target[key] = _parse_scalar(text)
    return config_from_table(table)


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """One `--section.key` flag for every key of the configuration, in groups with its help text."""

    def title(name: str, cls: type) -> str:
        return f"[{name}] {(cls.__doc__ or '').splitlines()[0].rstrip('.')}"

    sections: list[tuple[str, str, Iterable[Field[Any]]]] = [("", "general", fields(Config)[:1])]
    sections += [(f"{key}.", title(key, cls), fields(cls)) for key, cls in SECTIONS.items()]
    sections += [("method.", title(f"method] [name = {name}", cls), fields(cls)) for name, cls in METHODS.items()]
    seen = {"method.name"}
    for prefix, heading, options in sections:
        group = parser.add_argument_group(heading)
        for item in options:
            name = f"{prefix}{item.name}"
            if name not in seen:
                default = "" if item.default in (None, MISSING) else f" (default: {_show(item.default)})"
                group.add_argument(
                    f"--{name}", metavar="VALUE", help=item.metadata["help"].replace("%", "%%") + default
                )
            seen.add(name)
    parser.add_argument("--method.name", metavar="VALUE", help=f"training method: {', '.join(METHODS)}")


def _method(table: Mapping[str, Any]) -> Method:
    options = dict(table)
    name = options.pop("name", None)
    if name not in METHODS:
        raise ConfigError(
            f"method.name must be one of {', '.join(METHODS)}; got {name!r}{suggestion(str(name), METHODS)}"
        )
    method: Method = _build(METHODS[name], options, "method.")
    return method


def _build(cls: type, table: Mapping[str, Any], prefix: str) -> Any:
    known = {item.name: item for item in fields(cls)}
    for key in table:
        if key not in known:
            accepted = ", ".join(prefix + name for name in known)
            raise ConfigError(f"unknown key {prefix}{key}; accepted: {accepted}{suggestion(key, known, prefix)}")
    values = {key: _convert(value, known[key].type, f"{prefix}{key}") for key, value in table.items()}
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:  # a method's own check, which names the key alone
        raise ConfigError(f"{prefix}{error}") from None


def _convert(value: Any, wanted: Any, name: str) -> Any:
    """The TOML value as the field's type; TOML has no fractions and writes 1.0 as 1."""
    if wanted is Fraction and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            raise ConfigError(f"{name} must be a number or a fraction like 8/255; got {value!r}") from None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted == tuple[int, ...] and isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    if wanted == int | float and type(value) in (int, float):
        return value
    accepted = {int | float: "a number", int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    for kind, words in accepted.items():
        if wanted in (kind, kind | None) and type(value) is not kind:
            raise ConfigError(f"{name} must be {words}; got {value!r}")
    if wanted in (Fraction, tuple[int, ...]):
        raise ConfigError(
            f"{name} must be {'a fraction' if wanted is Fraction else 'a list of numbers'}; got {value!r}"
        )
    return value


def _parse_scalar(text: str) -> Any:
    """A flag's text as TOML reads it (numbers, true, lists), and as plain text otherwise."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _show(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
