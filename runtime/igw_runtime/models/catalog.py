"""Which models this process serves: names and versions to the models behind them.

The names are known from the settings on; the models are there once the loader has opened all of
them, and from then on nothing changes. Routes ask here whom a request is for.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from igw_runtime.errors import NotFoundError, NotReadyError
from igw_runtime.models.served import ServedModel

_SHOWN: Final = 80


class ModelCatalog:
    """Finds models; the first one is the default, and the first of a name is that name's."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._models: tuple[ServedModel, ...] = ()
        self._by_version: Mapping[tuple[str, str], ServedModel] = {}

    @property
    def names(self) -> Sequence[str]:
        """Return the names in the order of the settings, whether their models are loaded or not."""
        return self._names

    @property
    def models(self) -> Sequence[ServedModel]:
        """Return all models, in the order of the settings; none while they are being loaded."""
        return self._models

    @property
    def default(self) -> ServedModel:
        """Return the model of requests that name none."""
        if not self._models:
            raise _loading()
        return self._models[0]

    def open(self, models: Sequence[ServedModel]) -> None:
        """Serve these from now on."""
        found: dict[tuple[str, str], ServedModel] = {}
        for model in models:
            found.setdefault((model.name, ""), model)
            found[model.name, model.version] = model
        self._by_version = found
        self._models = tuple(models)

    def find(self, name: str, version: str = "") -> ServedModel:
        """Return the model that is asked for; an empty version is the name's default."""
        model = self._by_version.get((name, version))
        if model is not None:
            return model
        self.check_name(name)
        if not self._models:
            raise _loading()
        versions = ", ".join(repr(each.version) for each in self.list_versions(name))
        message = f"unknown version {version[:_SHOWN]!r}; this server has {versions}"
        raise NotFoundError(message)

    def check_name(self, name: str) -> None:
        """Refuse to serve one model under another's name."""
        if name not in self._names:
            known = ", ".join(map(repr, self._names))
            message = f"unknown model {name[:_SHOWN]!r}; this server has {known}"
            raise NotFoundError(message)

    def list_versions(self, name: str) -> Sequence[ServedModel]:
        """Return the models of a name, its default first."""
        return [model for model in self._models if model.name == name]


def _loading() -> NotReadyError:
    message = "the model is still loading"
    return NotReadyError(message, headers={"Retry-After": "1"})
