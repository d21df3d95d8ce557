import warnings

import pytest

with warnings.catch_warnings():  # of BentoML's own imports
    warnings.simplefilter("ignore", DeprecationWarning)
    from f2at.serving.bento.environment import untraced


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"BENTOML_CONFIG_OPTIONS": "services.f2at.tracing.excluded_urls=.*"}),
        (
            {"BENTOML_CONFIG_OPTIONS": "services.f2at.workers=2"},
            {"BENTOML_CONFIG_OPTIONS": "services.f2at.workers=2 services.f2at.tracing.excluded_urls=.*"},
        ),
        ({"BENTOML_CONFIG_OPTIONS": "services.f2at.tracing.exporter_type=otlp"}, {}),
        ({"BENTOML_CONFIG": "/etc/bentoml.yaml"}, {}),
    ],
)
def test_spans_are_recorded_only_where_tracing_is_set_up(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert untraced(environment) == expected
