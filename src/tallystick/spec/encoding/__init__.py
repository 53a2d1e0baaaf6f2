"""Canonical bytes: one program has exactly one encoding.

All fields have fixed widths and are little-endian; ``i`` is two's complement. ``[n]`` repeats a field n times. An
*address* and a *view* need the number of axes of the kernel they are in, output and reduce axes together.

    program
        header
        kernel record    [kernels]  u16 length, then the kernel in that many bytes
    header
        magic            4 bytes    "TALY"
        version          u16        2
        states           u32
        constants        u32
        kernels          u32
        state types      tensor type [states]
        constant types   tensor type [constants]
        next state       u32 [states]      value numbers
    tensor type
        dtype            u8         1 f32, 2 i32, 3 u8, 4 i8, 5 bool, 6 bf16, 7 f16
        rank             u8
        dims             u64 [rank]
    kernel
        kind             u8         0 map, 1 fold, 2 scan, 3 scatter
        out axes         u8
        reduce axes      u8
        extents          u64 [axes]        output axes first
        outputs          u8
        dtypes           u8 [outputs]
        loads            u8
        views            view [loads]
        body             code
      fold and scan only:
        accumulators     u8
        init             u32 [accumulators]
        lanes            u8
        block            u64
        merge            code
        epilogue         code
      scatter only:
        rank             u8
        dims             u64 [rank]
        base?            u8         1 if a base value is given
        base             u32        its number, else 0
        fill             u32
        address          address
        merge?           u8         1 if there is a merge
        merge            code       only then
    view
        value            u32
        fill             u32
        address          address
    address
        base             i64
        strides          i64 [axes]
        computed         u8
        computed terms   [computed] i64 stride, u8 register
        guards           u8
        guard            [guards]   i64 base, i64 stride [axes], u64 limit
    code
        instructions     u16
        results          u8
        result           u8 [results]      registers
        instruction      [instructions]    5 bytes
    instruction
        opcode           u8
        immediate        u32        of CONST, INDEX, LOAD and ACC; 0 of STEP
        or operands      u8 [3]     registers, those the instruction does not have are 0
           zero          u8

Instructions of one code have equal widths, so instruction i of a code lies at a known place, and kernels carry their
lengths, so that a program can be read kernel by kernel.
"""

from tallystick.spec.encoding.decoder import decode_kernel, decode_program
from tallystick.spec.encoding.encoder import encode_header, encode_kernel, encode_program, encode_tensor_type
from tallystick.spec.encoding.layout import VERSION

__all__ = [
    "VERSION",
    "decode_kernel",
    "decode_program",
    "encode_header",
    "encode_kernel",
    "encode_program",
    "encode_tensor_type",
]
