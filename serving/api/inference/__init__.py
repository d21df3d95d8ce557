"""The Open Inference Protocol (V2), by which KServe, Triton and their clients ask models.

https://github.com/kserve/open-inference-protocol, with Triton's extension for binary tensors.
"""

from f2at.serving.api.inference.routes import path_of, routes

__all__ = ["path_of", "routes"]
