"""torch with no server: from its start to its first answer. Run in a peer's environment.

`eager` computes in fp32, `compile` in bf16 with frozen weights, as fast as torch gets here.
"""

from __future__ import annotations

import sys

import torch
import torch._inductor.config
from torchvision.models import resnet50


def main() -> None:
    """Answer once, say so, and wait to be ended."""
    model = resnet50(weights=None).eval()
    image = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode():
        if sys.argv[1] == "compile":
            torch._inductor.config.freezing = True
            model, image = torch.compile(model.bfloat16()), image.bfloat16()
        model(image)
    print("answered", flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main()
