#!/usr/bin/env python3
"""Checks that no innermost loop of the given objects keeps vector registers on the stack.

A kernel whose tile does not fit the registers still computes the right thing, at half the speed. A loop is the range of
a backward branch, innermost if it holds no other, and looked at if it multiplies vectors; inside it, a vector
instruction that addresses the frame without an index is a spill or a reload. An indexed access is an array, and scalar
registers are not looked at.

usage: check_vector_spills.py FOLDER NAME...   checks every object NAME.cpp.o under FOLDER
       check_vector_spills.py --self-test
"""

import pathlib
import re
import subprocess
import sys

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
BRANCH = re.compile(r"^j\w+\s+([0-9a-f]+)\b")
MULTIPLY = re.compile(r"^(?:\{vex\} )?(vpmadd|vpdp|vdpbf16|vf[n]?m(add|sub)|tdp)")
VECTOR = re.compile(r"%[xyz]mm\d")
FRAME_POINTER = re.compile(r"^(mov|lea)\s+(\S*\(?%rsp\)?),%rbp$")


def functions(disassembly):
    """Yields (name, [(address, instruction)])."""
    name, body = None, []
    for line in disassembly.splitlines():
        if match := FUNCTION.match(line):
            if body:
                yield name, body
            name, body = match[1], []
        elif name and (match := INSTRUCTION.match(line)):
            body.append((int(match[1], 16), match[2].strip()))
    if body:
        yield name, body


def kernel_loops(body):
    start = body[0][0]
    loops = set()
    for address, instruction in body:
        match = BRANCH.match(instruction)
        if match and start <= int(match[1], 16) <= address:
            loops.add((int(match[1], 16), address))
    innermost = [loop for loop in loops if not any(o != loop and loop[0] <= o[0] and o[1] <= loop[1] for o in loops)]
    return [(first, last) for first, last in innermost
            if any(first <= address <= last and MULTIPLY.match(text) for address, text in body)]


def spills(body):
    """Yields (first, last, the loop's vector accesses to the frame)."""
    registers = "rsp|rbp" if any(FRAME_POINTER.match(text) for _, text in body) else "rsp"
    on_stack = re.compile(rf"\(%({registers})\)")
    for first, last in kernel_loops(body):
        found = [text for address, text in body
                 if first <= address <= last and VECTOR.search(text) and on_stack.search(text)]
        if found:
            yield first, last, found


def disassemble(path):
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", "--wide", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def self_test():
    loop = "0000 <f>:\n 0: {}\n 5: vpmaddubsw %ymm1,%ymm2,%ymm3\n a: jne 0 <f>\n f: vmovdqa %ymm1,0x20(%rsp)\n 14: ret\n"
    vnni = loop.replace("vpmaddubsw", "{{vex}} vpdpbusd")
    frame = "0000 <f>:\n 0: mov    %rsp,%rbp\n 4: {}\n 6: vfmadd231ps %zmm1,%zmm2,%zmm3\n 8: jmp 4 <f+0x4>\n"
    nested = "0000 <f>:\n 0: vmovdqa 0x20(%rsp),%ymm1\n 4: vpdpbusd %ymm1,%ymm2,%ymm3\n 8: jne 4 <f+4>\n c: jne 0 <f>\n"
    cases = [(loop, "vmovdqa %ymm1,0x20(%rsp)", 1), (loop, "vpaddd (%rsp),%ymm2,%ymm3", 1),
             (loop, "vmovdqa %ymm1,0x20(%rsp,%rax,8)", 0), (loop, "mov %rax,0x20(%rsp)", 0),
             (vnni, "vmovdqa %ymm1,0x20(%rsp)", 1), (loop, "vmovdqa %ymm1,0x20(%rbp)", 0), (loop, "vmovdqa %ymm1,(%rdi)", 0),
             (frame, "vmovups -0x40(%rbp),%zmm7", 1), (nested, "", 0)]
    for text, instruction, expected in cases:
        found = sum(len(list(spills(body))) for _, body in functions(text.format(instruction)))
        if found != expected:
            sys.exit(f"'{instruction}': {found} loops with spills, not {expected}")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    failed = False
    for name in sys.argv[2:]:
        objects = sorted(pathlib.Path(sys.argv[1]).rglob(f"{name}.cpp.o"))
        if not objects:
            sys.exit(f"no object {name}.cpp.o under {sys.argv[1]}")
        for path in objects:
            num_loops = 0
            for function, body in functions(disassemble(path)):
                num_loops += len(kernel_loops(body))
                for first, last, found in spills(body):
                    failed = True
                    print(f"{path.name}: {len(found)} in {first:x}..{last:x} of {function}")
                    print("".join(f"    {text}\n" for text in found), end="")
            print(f"{path.name}: {num_loops} loops")
            failed |= num_loops == 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
