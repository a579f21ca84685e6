from pathlib import Path

import pytest

from harness.generate import compile_messages
from harness.shell import ROOT
from igw_runtime.web.oip import open_inference_pb2 as ours


def test_generated_messages_are_those_of_their_source(tmp_path: Path) -> None:
    """`make generate` has nothing to write."""
    for path in compile_messages(tmp_path):
        assert (ROOT / "runtime" / path.relative_to(tmp_path)).read_text() == path.read_text()


@pytest.mark.filterwarnings("ignore:Protobuf gencode")
def test_messages_are_on_the_wire_what_tritons_are() -> None:
    """Every field of ours has the number and the type that the client knows."""
    from tritonclient.grpc import service_pb2 as theirs  # noqa: PLC0415  slow to import

    compared = 0
    for name, message in ours.DESCRIPTOR.message_types_by_name.items():
        other = theirs.DESCRIPTOR.message_types_by_name[name]
        pairs = [(message, other)]
        pairs += [
            (nested, other.nested_types_by_name[nested.name]) for nested in message.nested_types
        ]
        for own, expected in pairs:
            known = {field.number: field for field in expected.fields}
            for field in own.fields:
                match = known[field.number]
                assert (match.name, match.type, match.is_repeated) == (
                    field.name,
                    field.type,
                    field.is_repeated,
                )
                compared += 1
    assert compared > 80
