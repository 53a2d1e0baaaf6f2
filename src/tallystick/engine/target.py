"""Which machine the code is generated for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import llvmlite.binding as llvm

Isa = Literal["avx512", "avx2", "baseline", "neon"]

_NEEDED: dict[Isa, frozenset[str]] = {
    "avx512": frozenset({"avx512f", "avx512vl", "avx512bw", "avx512dq", "avx2", "fma", "f16c"}),
    "avx2": frozenset({"avx2", "fma", "f16c"}),
}
_LANES: dict[Isa, int] = {"avx512": 16, "avx2": 8, "baseline": 4, "neon": 4}
_REGISTERS: dict[Isa, int] = {"avx512": 32, "avx2": 16, "baseline": 16, "neon": 32}


@dataclass(frozen=True, slots=True)
class Target:
    """An instruction set and how hard LLVM works. Neither can change a bit of any result.

    ``isa`` avx512 and avx2 imply fused multiply-add; baseline is any x86-64 (its fused multiply-add is software, exact
    and slow); neon is any 64-bit ARM. ``opt_level`` is LLVM's, 0 to 3.
    """

    isa: Isa
    opt_level: int = 3

    @staticmethod
    def host(opt_level: int = 3) -> Target:
        """The best target this machine can run."""
        return Target(runnable()[0], opt_level)

    @staticmethod
    def available() -> tuple[Isa, ...]:
        """Instruction sets this machine can run, best first."""
        return runnable()

    @property
    def lanes(self) -> int:
        """32-bit words in a vector register."""
        return _LANES[self.isa]

    @property
    def registers(self) -> int:
        """How many vector registers there are."""
        return _REGISTERS[self.isa]

    @property
    def has_fma(self) -> bool:
        return self.isa != "baseline"

    @property
    def has_half(self) -> bool:
        """Whether conversions to and from binary16 are instructions."""
        return self.isa != "baseline"

    @property
    def has_rounding(self) -> bool:
        """Whether rounding to an integral value is an instruction."""
        return self.isa != "baseline"

    @property
    def has_masked_memory(self) -> bool:
        """Whether a load or store of some lanes of a vector is an instruction."""
        return self.isa in ("avx512", "avx2")

    @property
    def cpu(self) -> str:
        """LLVM's name of the processor to schedule for."""
        if self.isa == "baseline":
            return "x86-64"
        return (
            host_cpu()[0]
            if self.isa in runnable()
            else {"avx512": "x86-64-v4", "avx2": "x86-64-v3"}.get(self.isa, "generic")
        )

    @property
    def features(self) -> str:
        """LLVM's feature string: everything the host's name implies beyond this instruction set is taken away."""
        match self.isa:
            case "avx512":
                return ",".join(f"+{name}" for name in sorted(_NEEDED["avx512"]))
            case "avx2":
                return "+avx2,+fma,+f16c,-avx512f"
            case "baseline":
                return "+sse2,-avx,-fma"
            case _:
                return "+neon"

    def machine(self) -> llvm.TargetMachine:
        """A fresh LLVM target machine (an execution engine takes possession of the one it is given)."""
        initialise()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        # The small code model addresses constants relative to the code; the loader keeps an object in one piece.
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=self.opt_level, reloc="pic", codemodel="small", jit=False
        )


@cache
def initialise() -> None:
    """Make LLVM ready to generate code for this kind of machine, once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def host_cpu() -> tuple[str, frozenset[str]]:
    """LLVM's name of this processor and the features it has."""
    features = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), frozenset(name for name, there in features.items() if there)


@cache
def runnable() -> tuple[Isa, ...]:
    """Instruction sets this machine can run, best first."""
    if not llvm.get_process_triple().startswith("x86_64"):
        return ("neon",)
    _, features = host_cpu()
    wide: tuple[Isa, ...] = ("avx512", "avx2")
    return (*(isa for isa in wide if features >= _NEEDED[isa]), "baseline")
