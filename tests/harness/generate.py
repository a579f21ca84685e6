"""Write the files that are generated from the code: ``make generate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml

from harness.dashboards.every import FOLDER, dashboard_files
from harness.dashboards.page import dashboards_page
from harness.metrics_page import metrics_page
from harness.pains import pains_page
from harness.provider import choose
from harness.reference import reference
from harness.shell import ROOT, run, say
from igw_operator.api.crd import crds

_MESSAGES: Final = "igw_runtime/web/oip/open_inference.proto"
_NOTICE: Final = "# Generated from operator/igw_operator/api by `make generate`. Do not edit.\n"


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as Kubernetes' own tools write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def as_yaml(manifest: dict[str, Any]) -> str:
    """The manifest as a reviewer wants to read it."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def compile_messages(folder: Path) -> list[Path]:
    """Write the inference protocol's messages below a folder; return the files."""
    source = ROOT / "runtime"
    run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={source}"),
            *(f"--python_out={folder}", f"--pyi_out={folder}", str(source / _MESSAGES)),
        ]
    )
    stem = _MESSAGES.removesuffix(".proto")
    return [folder / f"{stem}_pb2{end}" for end in (".py", ".pyi")]


def main() -> None:
    """Write every generated file."""
    for path in compile_messages(ROOT / "runtime"):
        say(f"wrote {path.relative_to(ROOT)}")
    for name, manifest in crds().items():
        path = ROOT / "crds" / name
        path.write_text(_NOTICE + as_yaml(manifest))
        say(f"wrote {path.relative_to(ROOT)}")
    pages = {
        "api.md": reference(),
        "dashboards.md": dashboards_page(),
        "metrics.md": metrics_page(),
        "what-does-not-happen.md": pains_page(),
    }
    for name, text in pages.items():
        page = ROOT / "docs" / name
        page.write_text(text)
        say(f"wrote {page.relative_to(ROOT)}")
    for name, text in dashboard_files().items():
        (FOLDER / name).write_text(text)
        say(f"wrote {(FOLDER / name).relative_to(ROOT)}")
    install = ROOT / "manifests" / "install.yaml"
    built = run([choose().kubectl, "kustomize", "manifests/base"])
    install.write_text("# Generated from manifests/base by `make generate`. Do not edit.\n" + built)
    say(f"wrote {install.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
