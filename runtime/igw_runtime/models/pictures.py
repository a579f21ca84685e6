"""Folders of pictures: what a network is quantised with, and what it is judged by.

Called by `models.quantisation`. Pictures are decoded and preprocessed as a request's are by
default, drafts of large JPEGs included: ranges and answers are those of serving.

The class of a picture is known from `val_map.txt` in the folder (lines of `FILE INDEX`, as
MLPerf's for ImageNet), or from the folder that it is in, if that has the name of a class.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from igw_runtime.errors import InvalidPicturesError, RequestError
from igw_runtime.models.artifact import hash_file
from igw_runtime.models.decoding import DRAFT_FACTOR, ImageDecoder
from igw_runtime.models.manifest import Pictures, Preprocessing
from igw_runtime.models.preprocessing import Preprocessor, Tensor

TRUTH_FILE: Final = "val_map.txt"
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})
_MAX_PIXELS: Final = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One file; `truth` is the index of its class, where that is known."""

    path: Path
    sha256: str
    truth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """The pictures of one folder, in the order of their names."""

    folder: Path
    pictures: Sequence[Picture]

    def describe(self) -> Pictures:
        """Return what a manifest says of them."""
        lines = [f"{it.sha256}  {it.path.relative_to(self.folder)}\n" for it in self.pictures]
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        return Pictures(count=len(self.pictures), sha256=digest)

    def spread(self, most: int) -> "PictureSet":
        """Return at most so many of them, from all over: names often begin with the class."""
        count = len(self.pictures)
        if count <= most:
            return self
        chosen = [self.pictures[index * count // most] for index in range(most)]
        return PictureSet(folder=self.folder, pictures=chosen)

    def read(self, preprocessing: Preprocessing) -> Iterator[Tensor]:
        """Decode and preprocess one after the other; each is a batch of one."""
        draft = preprocessing.resize * DRAFT_FACTOR
        decoder = ImageDecoder(_MAX_PIXELS, draft_side=draft)
        preprocessor = Preprocessor(preprocessing)
        for picture in self.pictures:
            try:
                image = decoder.decode(decoder.open(picture.path.read_bytes()))
            except (OSError, RequestError) as error:
                message = f"{picture.path}: {error}"
                raise InvalidPicturesError(message) from error
            yield np.ascontiguousarray(preprocessor(image)[None])


def list_pictures(folder: Path, classes: Sequence[str]) -> PictureSet:
    """Find all pictures below a folder, and what they show."""
    names = (name for name in folder.rglob("*") if name.suffix.lower() in SUFFIXES)
    paths = sorted(
        (path for path in names if path.is_file()), key=lambda it: str(it.relative_to(folder))
    )
    if not paths:
        message = f"{folder} has no pictures ({', '.join(sorted(SUFFIXES))})"
        raise InvalidPicturesError(message)
    truths = _read_truths(folder, paths, classes)
    return PictureSet(
        folder=folder,
        pictures=[
            Picture(path=path, sha256=hash_file(path), truth=truths.get(path)) for path in paths
        ],
    )


def check_disjoint(calibration: PictureSet, evaluation: PictureSet) -> None:
    """Refuse to judge a network by what its ranges were measured with."""
    used = {picture.sha256: picture.path for picture in calibration.pictures}
    shared = [picture for picture in evaluation.pictures if picture.sha256 in used]
    if shared:
        first = shared[0]
        message = (
            f"{len(shared)} evaluation picture(s) are in the calibration too, such as "
            f"{first.path}, which is {used[first.sha256]}"
        )
        raise InvalidPicturesError(message)


def _read_truths(folder: Path, paths: Sequence[Path], classes: Sequence[str]) -> Mapping[Path, int]:
    file = folder / TRUTH_FILE
    if file.is_file():
        return _parse_truths(file, paths, len(classes))
    counts = Counter(classes)
    indices = {name: index for index, name in enumerate(classes)}
    parents = {path: path.relative_to(folder).parts[0] for path in paths if path.parent != folder}
    if not indices.keys() & parents.values():
        return {}
    for path, name in parents.items():
        if counts[name] != 1:
            fault = "is no class of the model" if not counts[name] else "names several classes"
            message = f"{path}: other folders have names of classes, but {name!r} {fault}"
            raise InvalidPicturesError(message)
    return {path: indices[name] for path, name in parents.items()}


def _parse_truths(file: Path, paths: Sequence[Path], classes: int) -> Mapping[Path, int]:
    known = set(paths)
    truths: dict[Path, int] = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        name, _, index = line.strip().rpartition(" ")
        path = file.parent / name.strip()
        if not index.isdecimal() or int(index) >= classes or path not in known:
            message = (
                f"{file}, line {number}: should be a picture of the folder and the index of one "
                f"of {classes} classes, got {line.strip()[:80]!r}"
            )
            raise InvalidPicturesError(message)
        truths[path] = int(index)
    return truths
