"""Run one target with libFuzzer: ``python fuzz/run.py TARGET [libFuzzer arguments]``.

It needs atheris (``pip install atheris``), which is not for every Python. ``-max_total_time=60`` ends it after a
minute; the name of a file that it has left behind runs that once more.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed; `pytest tests/unit/transports/http/test_fuzz_http.py` does without")

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

with atheris.instrument_imports(include=["mcp_tasks", "h11"]):
    import targets


def main() -> None:
    """Seeds and words go to a directory of their own, which is where libFuzzer collects what it finds interesting."""
    if len(sys.argv) < 2 or sys.argv[1] not in targets.TARGETS:
        sys.exit(f"usage: {sys.argv[0]} {{{','.join(targets.TARGETS)}}} [libFuzzer arguments]")
    name = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(targets.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words"
    lines = ("".join(map("\\x{:02x}".format, word)) for word in targets.TOKENS)
    words.write_text("".join(f'"{line}"\n' for line in lines))
    arguments = [*sys.argv, f"-dict={words}", "-max_len=4096", f"-artifact_prefix={os.getcwd()}/{name}-"]
    if not any(Path(argument).is_file() for argument in sys.argv[1:]):
        arguments.append(str(corpus))
    atheris.Setup(arguments, lambda data: targets.TARGETS[name](bytes(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
