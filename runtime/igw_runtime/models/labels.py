"""Class names: one a line, the line number is the class index."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Labels:
    """The names of a model's classes; an index without a name still has one."""

    names: tuple[str, ...]

    def __getitem__(self, index: int) -> str:
        if index < len(self.names):
            return self.names[index]
        return f"class_{index}"

    def __len__(self) -> int:
        return len(self.names)


def parse_labels(text: str) -> Labels:
    """Parse the content of a labels file."""
    return Labels(tuple(line.strip() for line in text.strip().splitlines()))
