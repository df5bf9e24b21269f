"""Makes safetensors of pickled weights: a program of its own, as opening a stranger's pickle is dangerous.

`python -m modelyard.worker.conversion` reads one order, a JSON object, from standard input, and confines itself before
it reads anything of the model. It writes an ExportReport as `modelyard.worker.variants` does, whose folder it makes in
the same way: whole or not at all.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path

import msgspec

from modelyard.errors import ModelRefused, ModelyardError
from modelyard.records.conversions import ConversionOrder, converted_name, is_pickle
from modelyard.records.variants import ExportReport
from modelyard.worker.limits import limit_memory, megabytes, says_out_of_memory
from modelyard.worker.sandbox.confinement import Needs, confine

INDEX = ".index.json"
WEIGHT_ENDINGS = (".safetensors", ".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".tflite", ".ot")
MOST_COPIED_BYTES = 64 * 1024**2
"""Of a file that is no weights. The largest tokenizers have a third of that."""
DEPTH = 2
"""How deep a model's parts lie."""


def convert_folder(order: ConversionOrder) -> int:
    """Makes the folder; how many pickles it had. Raises ModelyardError, MemoryError, OSError."""
    from modelyard.worker.runtimes import pickles

    resource.setrlimit(resource.RLIMIT_CPU, (order.cpu_s, order.cpu_s))
    limit_memory(order.memory_limit_bytes)
    source, target = Path(order.path), Path(order.target)
    target.mkdir(parents=True)
    copy_files(source, target)
    count = 0
    for name in order.weights:
        (target / name).parent.mkdir(exist_ok=True)
        if is_pickle(name):
            pickles.convert(source / name, target / converted_name(name))
            count += 1
        else:
            shutil.copyfile(source / name, target / name)
    return count


def copy_files(source: Path, target: Path) -> None:
    """Copies what is no weights: configs, tokenizers, code, and the lists of weights with the new files' names."""
    for folder, folders, names in os.walk(source):
        at = Path(folder).relative_to(source)
        folders[:] = [each for each in folders if not each.startswith(".") and len(at.parts) < DEPTH - 1]
        for name in names:
            file = source / at / name
            if name.startswith(".") or is_pickle(name) or name.endswith(WEIGHT_ENDINGS):
                continue
            if file.stat().st_size > MOST_COPIED_BYTES:
                continue
            (target / at).mkdir(exist_ok=True)
            if is_pickle(name.removesuffix(INDEX)) and name.endswith(INDEX):
                write_index(file, target / at / (converted_name(name.removesuffix(INDEX)) + INDEX))
            else:
                shutil.copyfile(file, target / at / name)


def write_index(source: Path, target: Path) -> None:
    """The list that says in which file each tensor lies. Raises ModelRefused for what is none."""
    try:
        index = msgspec.json.decode(source.read_bytes(), type=dict[str, dict[str, msgspec.Raw]])
        names = {key: msgspec.json.decode(value, type=str) for key, value in index["weight_map"].items()}
    except (msgspec.MsgspecError, KeyError, RecursionError) as error:
        raise ModelRefused(f"{source.name} does not say in which file each tensor lies.") from error
    renamed = {key: converted_name(value) for key, value in names.items()}
    target.write_bytes(msgspec.json.encode({"metadata": {}, "weight_map": renamed}))


def explain(error: BaseException, order: ConversionOrder) -> str:
    """Why there is nothing, in a sentence without its full stop."""
    if says_out_of_memory(error):
        return f"reading its pickles needs more than {megabytes(order.memory_limit_bytes)}"
    if isinstance(error, ModelyardError):
        return error.message.rstrip(".")
    if isinstance(error, OSError):
        return f"{Path(os.fsdecode(error.filename or '')).name}: {error.strerror or error}"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


def main() -> int:
    """Runs one order; returns the exit code."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print
    parent_pid = os.getppid()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=ConversionOrder)
    try:
        confine(Needs.of_conversion(order), order.sandbox, parent_pid)
        report = ExportReport(done={"pickles": convert_folder(order)})
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked gets a sentence
        sys.excepthook(type(error), error, error.__traceback__)
        report = ExportReport(failed=explain(error, order))
    output.write(msgspec.json.encode(report).decode() + "\n")
    output.flush()
    return 0 if report.failed is None else 1


if __name__ == "__main__":
    sys.exit(main())
