import pytest

from igw_operator.settings import Settings, SettingsError, read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    """Nothing has to be set."""
    assert read_settings({"PATH": "/bin"}) == Settings()


def test_every_setting_can_be_set() -> None:
    """And has the type that it says."""
    settings = read_settings(
        {
            "IGW_LOG_LEVEL": "DEBUG",
            "IGW_WORKERS": "4",
            "IGW_RESYNC_SECONDS": "30.5",
            "IGW_LEASE": "false",
            "IGW_MONITOR_LABELS": "release=prometheus, team=vision",
            "IGW_MONITORING_NAMESPACES": "monitoring,observability",
            "IGW_RUNBOOK_BASE_URL": "https://wiki.example/runbooks",
            "IGW_PROMETHEUS_URL": "http://prometheus.monitoring.svc:9090",
        }
    )
    assert (settings.log_level, settings.workers, settings.lease) == ("debug", 4, False)
    assert settings.resync_seconds == 30.5
    assert settings.defaults.monitor_labels == {"release": "prometheus", "team": "vision"}
    assert settings.defaults.prometheus_url == "http://prometheus.monitoring.svc:9090"
    assert settings.defaults.monitoring_namespaces == ("monitoring", "observability")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("IGW_LOG_LEVEL", "loud", "one of debug"),
        ("IGW_WORKERS", "0", "from 1 to 64"),
        ("IGW_WORKERS", "many", "whole number"),
        ("IGW_RESYNC_SECONDS", "10m", "seconds"),
        ("IGW_METRICS_PORT", "70000", "0 to 65535"),
        ("IGW_LEASE", "yes", "true or false"),
        ("IGW_MONITOR_LABELS", "release", "release=prometheus"),
        ("IGW_RUNBOOK_BASE_URL", "wiki", "URL"),
        ("IGW_PROMETHEUS_URL", "prometheus:9090", "URL"),
    ],
)
def test_a_bad_value_is_refused_by_name(variable: str, value: str, says: str) -> None:
    """The message names the variable, what it takes and what it got."""
    with pytest.raises(SettingsError) as error:
        read_settings({variable: value})
    assert variable in str(error.value)
    assert says in str(error.value)
    assert repr(value) in str(error.value)


def test_all_bad_values_are_told_at_once() -> None:
    """Nobody likes to be told one at a time."""
    with pytest.raises(SettingsError) as error:
        read_settings({"IGW_WORKERS": "x", "IGW_LEASE": "x"})
    assert [it.path for it in error.value.errors] == ["IGW_WORKERS", "IGW_LEASE"]


def test_an_unknown_variable_of_ours_is_noticed() -> None:
    """A misspelt one would else be ignored in silence."""
    assert read_settings({"IGW_WROKERS": "4"}).unknown == ("IGW_WROKERS",)
