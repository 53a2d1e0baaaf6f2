"""Instructions in LLVM IR: total, correctly rounded, without calls into any library, at any number of lanes.

No flag that would let LLVM reassociate, contract or ignore special values is ever set.
"""

from __future__ import annotations

from llvmlite import ir

from tallystick.engine.target import Target
from tallystick.engine.words import F32, F64, I32, I64, element_of, lanes_of, splat_constant, vector

INT_MIN = -(1 << 31)


def intrinsic(
    builder: ir.IRBuilder, name: str, result: ir.Type, args: list[ir.Value], alignments: dict[int, int] | None = None
) -> ir.Value:
    """Call an LLVM intrinsic by its full name, declaring it once per module. ``alignments`` are those of pointers."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [arg.type for arg in args]), name)
    call = builder.call(function, args)
    for argument, alignment in (alignments or {}).items():
        attributes = ir.values.ArgumentAttributes()
        attributes.align = alignment
        call.arg_attributes[argument] = attributes
    return call


def type_name(type: ir.Type) -> str:
    """LLVM's suffix for an overloaded intrinsic."""
    if isinstance(type, ir.VectorType):
        return f"v{type.count}{type_name(type.element)}"
    return {F32: "f32", F64: "f64"}.get(type) or str(type)


def overloaded(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    """Call an intrinsic that is overloaded on its one type."""
    return intrinsic(builder, f"{name}.{type_name(args[0].type)}", args[0].type, list(args))


def opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The same integer, about which LLVM knows nothing any more."""
    asm = ir.InlineAsm(ir.FunctionType(value.type, [value.type]), "", "=r,0", side_effect=False)
    return builder.call(asm, [value])


# BINARY32


def square_root(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The correctly rounded square root.

    LLVM drops the repair of a NaN that comes out of a square root it can see, because to LLVM one NaN is as good as
    another. Behind the fence, which costs no instruction, it cannot.
    """
    return overloaded(builder, "llvm.arithmetic.fence", overloaded(builder, "llvm.sqrt", value))


def fused_multiply_add(builder: ir.IRBuilder, target: Target, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, rounded once."""
    if target.has_fma:
        return overloaded(builder, "llvm.fma", a, b, c)
    return _software_fma(builder, a, b, c)


def _software_fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c by way of binary64 and rounding to odd.

    The product of two binary32 is exact in binary64, and so are the sum's rounding error (TwoSum) and its sign. Moving
    an inexact sum to its neighbour with an odd last bit, towards the exact value, makes the second rounding (to
    binary32, at least two bits shorter) see everything it needs, subnormal results included.
    Source: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd".
    """
    lanes = lanes_of(a)
    double, integer = vector(F64, lanes), vector(I64, lanes)
    # MULTIPLY
    product = builder.fmul(builder.fpext(a, double), builder.fpext(b, double))
    addend = builder.fpext(c, double)
    # ADD
    total = builder.fadd(product, addend)
    virtual = builder.fsub(total, product)
    error = builder.fadd(
        builder.fsub(product, builder.fsub(total, virtual)), builder.fsub(addend, virtual)
    )  # NaN if the total is not finite
    # ROUND TO ODD
    zero = splat_constant(F64, 0.0, lanes)
    inexact = builder.fcmp_ordered("one", error, zero)
    bits = builder.bitcast(total, integer)
    even = builder.icmp_unsigned("==", builder.and_(bits, splat_constant(I64, 1, lanes)), splat_constant(I64, 0, lanes))
    away = builder.icmp_unsigned(
        "==", builder.fcmp_ordered("ogt", error, zero), builder.fcmp_ordered("ogt", total, zero)
    )
    neighbour = builder.select(
        away,
        builder.add(bits, splat_constant(I64, 1, lanes)),
        builder.sub(bits, splat_constant(I64, 1, lanes)),
    )
    odd = builder.select(builder.and_(inexact, even), neighbour, bits)
    # ROUND
    return builder.fptrunc(builder.bitcast(odd, double), vector(F32, lanes))


def round_to_integral(builder: ir.IRBuilder, target: Target, a: ir.Value) -> ir.Value:
    """To the nearest integral value, ties to even, keeping the sign of zero."""
    if target.has_rounding:
        return overloaded(builder, "llvm.roundeven", a)
    lanes = lanes_of(a)
    big = overloaded(builder, "llvm.copysign", splat_constant(F32, float(1 << 23), lanes), a)
    rounded = overloaded(builder, "llvm.copysign", builder.fsub(builder.fadd(a, big), big), a)
    magnitude = overloaded(builder, "llvm.fabs", a)
    has_fraction = builder.fcmp_ordered("olt", magnitude, splat_constant(F32, float(1 << 23), lanes))
    return builder.select(has_fraction, rounded, a)


def float_to_int(builder: ir.IRBuilder, a: ir.Value) -> ir.Value:
    """Truncated, saturating; NaN gives 0."""
    result = vector(I32, lanes_of(a))
    name = f"llvm.fptosi.sat.{type_name(result)}.{type_name(a.type)}"
    return intrinsic(builder, name, result, [a])


# INTEGERS


def multiply_high(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The high word of the unsigned product."""
    lanes = lanes_of(a)
    wide = vector(I64, lanes)
    product = builder.mul(builder.zext(a, wide), builder.zext(b, wide))
    return builder.trunc(builder.lshr(product, splat_constant(I64, 32, lanes)), vector(I32, lanes))


def shift_amount(builder: ir.IRBuilder, b: ir.Value) -> ir.Value:
    """A shift amount modulo 32."""
    return builder.and_(b, splat_constant(I32, 31, lanes_of(b)))


def divide(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, constant: int | None) -> ir.Value:
    """Signed, truncating; by zero 0; INT_MIN / -1 = INT_MIN. ``constant`` is the divisor as a word, where known."""
    lanes = lanes_of(a)
    zero = splat_constant(I32, 0, lanes)
    if constant == 0:
        return zero
    if constant == 0xFFFFFFFF:
        return builder.sub(zero, a)
    if constant is not None:
        return builder.sdiv(a, b)
    quotient = _quotient(builder, a, _harmless_divisor(builder, b))
    by_minus_one = builder.icmp_unsigned("==", b, splat_constant(I32, -1, lanes))
    quotient = builder.select(by_minus_one, builder.sub(zero, a), quotient)
    return builder.select(builder.icmp_unsigned("==", b, zero), zero, quotient)


def remainder(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, constant: int | None) -> ir.Value:
    """With the sign of the dividend; by zero the dividend; INT_MIN % -1 = 0."""
    lanes = lanes_of(a)
    zero = splat_constant(I32, 0, lanes)
    if constant == 0:
        return a
    if constant == 0xFFFFFFFF:
        return zero
    if constant is not None:
        return builder.srem(a, b)
    divisor = _harmless_divisor(builder, b)
    rest = builder.sub(a, builder.mul(_quotient(builder, a, divisor), divisor))  # 0 where the divisor became 1
    return builder.select(builder.icmp_unsigned("==", b, zero), a, rest)


def _harmless_divisor(builder: ir.IRBuilder, b: ir.Value) -> ir.Value:
    """The divisor, or 1 where it is 0 or -1."""
    lanes = lanes_of(b)
    next_to_zero = builder.add(b, splat_constant(I32, 1, lanes))
    harmful = builder.icmp_unsigned("<", next_to_zero, splat_constant(I32, 2, lanes))
    return builder.select(harmful, splat_constant(I32, 1, lanes), b)


def _quotient(builder: ir.IRBuilder, a: ir.Value, divisor: ir.Value) -> ir.Value:
    """Truncated quotient by a divisor other than 0 and -1.

    Vectors have no integer division; binary64's is correctly rounded and 53 bits hold every quotient of 32-bit
    integers closely enough that truncation is exact (one that is no integer differs from any by 2^-31 of itself).
    """
    lanes = lanes_of(a)
    if lanes == 1:
        return builder.sdiv(a, divisor)
    double = vector(F64, lanes)
    quotient = builder.fdiv(builder.sitofp(a, double), builder.sitofp(divisor, double))
    return builder.fptosi(quotient, vector(I32, lanes))


def is_float(value: ir.Value) -> bool:
    return element_of(value) == F32
