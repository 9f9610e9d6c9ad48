#!/usr/bin/env python3
"""Writes a copy of a GGUF file whose weights are f32, so that Pagoda multiplies them by activations that it does not round:
what another change of the arithmetic costs then shows by itself. Needs `pip install gguf numpy`.
"""

import argparse
import sys

try:
    import numpy
    from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize
except ImportError as error:
    sys.exit(f"{error}; pip install gguf numpy")

# Written anew by the writer, or no longer true.
LEFT_OUT = ("general.architecture", "general.file_type", "general.quantization_version")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.gguf")
    parser.add_argument("out", metavar="OUT.gguf")
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.model)
    writer = GGUFWriter(arguments.out, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in LEFT_OUT:
            continue
        kind = field.types[0]
        of = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=of)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, numpy.ascontiguousarray(values, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
