from collections.abc import Callable

import pytest

from igw_runtime.errors import NotFoundError, NotReadyError
from igw_runtime.models.catalog import ModelCatalog
from runtime_kit.colours import SERVED
from runtime_kit.several import DARKER, SHADES


@pytest.fixture
def catalog() -> ModelCatalog:
    """Return a catalog of three models under two names."""
    built = ModelCatalog(["colours", "shades", "colours"])
    built.open([SERVED, SHADES, DARKER])
    return built


def test_each_version_is_found_and_the_first_of_a_name_is_its_default(
    catalog: ModelCatalog,
) -> None:
    """The order of the settings decides, not the number of the version."""
    assert catalog.default is SERVED
    assert catalog.find("colours") is SERVED
    assert catalog.find("colours", "2") is DARKER
    assert catalog.find("shades") is catalog.find("shades", "7") is SHADES
    assert list(catalog.list_versions("colours")) == [SERVED, DARKER]
    assert list(catalog.names) == ["colours", "shades"]


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("other", "", "unknown model 'other'; this server has 'colours', 'shades'"),
        ("", "", "unknown model ''"),
        ("colours", "7", "unknown version '7'; this server has '1', '2'"),
        ("shades", "1", "unknown version '1'; this server has '7'"),
        ("x" * 500, "", f"unknown model '{'x' * 80}'; this"),
    ],
)
def test_what_is_not_there_is_told_from_what_is(
    catalog: ModelCatalog, name: str, version: str, says: str
) -> None:
    """A version belongs to its name, and an empty name is none."""
    with pytest.raises(NotFoundError) as caught:
        catalog.find(name, version)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda it: it.default, id="the default"),
        pytest.param(lambda it: it.find("colours"), id="a name"),
        pytest.param(lambda it: it.find("colours", "9"), id="a version that nobody knows yet"),
    ],
)
def test_names_are_known_before_the_models_are(ask: Callable[[ModelCatalog], object]) -> None:
    """While they load, what will be there is not ready; what will not be there is not found."""
    catalog = ModelCatalog(["colours"])

    with pytest.raises(NotReadyError) as caught:
        ask(catalog)
    assert caught.value.headers == {"Retry-After": "1"}
    with pytest.raises(NotFoundError):
        catalog.find("other")
    assert (list(catalog.names), list(catalog.models)) == (["colours"], [])
