import base64
import gzip
import json

import pytest

from igw_runtime.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    NoBodyError,
    RequestError,
    UnsupportedFormatError,
)
from igw_runtime.serving.jobs import ImagePayload
from igw_runtime.serving.payloads import (
    MAX_JSON_CONTAINERS,
    check_content_type,
    extract_image,
)

LIMIT = 1000


def extract(body: bytes, content_type: str = "", encoding: str = "") -> bytes:
    """Extract an image from a body."""
    payload = ImagePayload(body=body, content_type=content_type, content_encoding=encoding)
    return extract_image(payload, LIMIT)


def a_form(*parts: tuple[str, bytes]) -> bytes:
    """Return a multipart body."""
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), data)
        for head, data in parts
    )
    return body + b"--b--\r\n"


FORM = "multipart/form-data; boundary=b"
FILE = 'name="upload"; filename="a.png"'


@pytest.mark.parametrize(
    ("body", "content_type", "encoding"),
    [
        pytest.param(b"IMAGE", "image/png", "", id="raw"),
        pytest.param(b"IMAGE", "", "", id="raw without a type"),
        pytest.param(gzip.compress(b"IMAGE"), "image/png", "gzip", id="gzip"),
        pytest.param(
            gzip.compress(b"IMA") + gzip.compress(b"GE"), "", "gzip", id="gzip of two members"
        ),
        pytest.param(a_form((FILE, b"IMAGE")), FORM, "", id="form file"),
        pytest.param(
            a_form(('name="note"', b"x"), ('name="image"', b"IMAGE")), FORM, "", id="form field"
        ),
        pytest.param(
            json.dumps({"image": base64.b64encode(b"IMAGE").decode()}).encode(),
            "application/json; charset=utf-8",
            "",
            id="json",
        ),
        pytest.param(
            json.dumps({"image": "data:image/png;base64,SU1BR0U="}).encode(),
            "application/json",
            "",
            id="json with a data url",
        ),
    ],
)
def test_image_is_found(body: bytes, content_type: str, encoding: str) -> None:
    """Every documented envelope gives the same bytes."""
    assert extract(body, content_type, encoding) == b"IMAGE"


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "error"),
    [
        pytest.param(b"", "", "", NoBodyError, id="nothing"),
        pytest.param(gzip.compress(b""), "", "gzip", NoBodyError, id="gzip of nothing"),
        pytest.param(b"x", "", "gzip", MalformedRequestError, id="not gzip"),
        pytest.param(
            gzip.compress(b"IMAGE")[:-9], "", "gzip", MalformedRequestError, id="cut gzip"
        ),
        pytest.param(
            gzip.compress(b"\0" * 10_000_000), "", "gzip", BodyTooLargeError, id="gzip bomb"
        ),
        pytest.param(
            gzip.compress(b"\0" * 600) * 2, "", "gzip", BodyTooLargeError, id="gzip bomb in two"
        ),
        pytest.param(
            gzip.compress(b"") * 65, "", "gzip", MalformedRequestError, id="too many gzip members"
        ),
        pytest.param(
            gzip.compress(b"IMAGE") + b"junk", "", "gzip", MalformedRequestError, id="gzip and more"
        ),
        pytest.param(b"{", "application/json", "", MalformedRequestError, id="broken json"),
        pytest.param(b"[]", "application/json", "", MalformedRequestError, id="json list"),
        pytest.param(b"{}", "application/json", "", MalformedRequestError, id="json w/o image"),
        pytest.param(
            b'{"image": 1}', "application/json", "", MalformedRequestError, id="number as image"
        ),
        pytest.param(
            b'{"image": "%%"}', "application/json", "", MalformedRequestError, id="not base64"
        ),
        pytest.param(
            b"[" * 900, "application/json", "", MalformedRequestError, id="deeply nested json"
        ),
        pytest.param(
            a_form(('name="note"', b"x")), FORM, "", MalformedRequestError, id="form w/o file"
        ),
        pytest.param(a_form((FILE, b"")), FORM, "", NoBodyError, id="empty form file"),
        pytest.param(b"x", "multipart/form-data", "", MalformedRequestError, id="no boundary"),
        pytest.param(b"junk", FORM, "", MalformedRequestError, id="not a form"),
    ],
)
def test_bad_envelopes_are_explained(
    body: bytes, content_type: str, encoding: str, error: type[RequestError]
) -> None:
    """Each mistake has its own problem, none a traceback."""
    with pytest.raises(error):
        extract(body, content_type, encoding)


def test_json_of_empty_lists_is_refused_before_it_is_parsed() -> None:
    """Three bytes of text become seventy of memory, and the interpreter is locked for seconds."""
    body = b'{"image": [' + b"[]," * MAX_JSON_CONTAINERS + b"[]]}"
    payload = ImagePayload(body=body, content_type="application/json")

    with pytest.raises(MalformedRequestError, match="lists and objects"):
        extract_image(payload, len(body))


@pytest.mark.parametrize(
    "parameters",
    [
        "boundary*=utf-8''a; boundary*0=b",
        f"boundary*{'9' * 5000}=x",
        "boundary*0*=x; boundary*1*=y",
        f"boundary={'b' * 5000}",
        'boundary=""',
        "boundary=\xff\xfe",
    ],
)
def test_no_boundary_breaks_the_parser(parameters: str) -> None:
    """RFC 2231's continued and encoded parameters have no place in a form's header."""
    with pytest.raises(MalformedRequestError):
        extract(a_form((FILE, b"IMAGE")), f"multipart/form-data; {parameters}")


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("text/html", ""), ("video/mp4", ""), ("image/png", "br"), ("image/png", "gzip, gzip")],
)
def test_what_cannot_hold_an_image_is_refused_early(content_type: str, encoding: str) -> None:
    """The header alone is enough to say no."""
    with pytest.raises(UnsupportedFormatError):
        check_content_type(content_type, encoding)
