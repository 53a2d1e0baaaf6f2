"""What a job asks for beside the defaults: optimizer, schedule, groups, accumulation, averages, storage."""

from __future__ import annotations

from random import Random

from differential.nodes import OPTION
from differential.writer import Writer

OPTIMIZERS = (
    "SGD(0.1, momentum=0.9{rules})",
    "SGD(0.1, momentum=0.8, dampening=0.3, weight_decay=0.01{rules})",
    "SGD(0.05, momentum=0.9, nesterov=True{rules})",
    "SGD(0.1, weight_decay=0.1{rules})",
    "Adam(1e-2, eps=1e-3{rules})",
    "Adam(1e-2, betas=(0.8, 0.9), weight_decay=0.1{rules})",
    "Adam(1e-2, amsgrad=True, eps=1e-4{rules})",
    "AdamW(1e-2, weight_decay=0.1, eps=1e-3{rules})",
    "AdamW(1e-2, amsgrad=True{rules})",
    "NAdam(5e-3, eps=1e-3{rules})",
    "NAdam(5e-3, weight_decay=0.1, decoupled_weight_decay=True, eps=1e-3{rules})",
    "RAdam(1e-2, eps=1e-3{rules})",
    "RAdam(1e-2, betas=(0.5, 0.7), weight_decay=0.1, eps=1e-3{rules})",
    "RMSprop(1e-3, eps=1e-3{rules})",
    "RMSprop(1e-3, momentum=0.5, centered=True, eps=1e-3{rules})",
    "Adagrad(3e-2, lr_decay=0.01, initial_accumulator_value=0.1{rules})",
    "Adagrad(1e-2, weight_decay=0.1, eps=1e-3{rules})",
    "Adafactor(1e-2{rules})",
    "Adafactor(1e-2, weight_decay=0.1, d=2.0{rules})",
    "Lion(1e-3, weight_decay=0.1{rules})",
    "Muon(1e-2, rest=ts.optim.AdamW(1e-2, eps=1e-3){rules})",
    "Muon(1e-2, nesterov=False, adjust_lr_fn='match_rms_adamw'{rules})",
)
SCHEDULES = (
    "ts.optim.warmup_cosine(6, 2, 0.1)",
    "ts.optim.warmup_linear(6, 1)",
    "ts.optim.warmup_constant(3)",
    "ts.optim.multi_step(2, 4)",
    "ts.optim.exponential(0.8)",
    "ts.optim.one_cycle(6)",
    "ts.optim.warmup_inverse_sqrt(2)",
    "ts.optim.warmup_polynomial(6, 2, 0.1)",
    "lambda update: 1.0 / (1 + update)",
    "ts.optim.warmup_cosine(6, 1, cycles=2)",
)
RULES = (
    "schedule={schedule}",
    "clip_norm=0.3",
    "clip_norm=0.05",
    "clip_value=0.02",
    "decay=lambda name, p: p.ndim >= 2",
    "lr_scale=lambda name, p: 0.1 if 'weight' in name else 1.0",
    "decay=lambda name, p: 0.5",
)


@OPTION.production("optimizer", 6)
def optimizer(w: Writer, r: Random) -> None:
    rules = [rule.format(schedule=r.choice(SCHEDULES)) for rule in r.sample(RULES, r.choice((0, 0, 1, 2)))]
    kinds = {rule.split("=")[0].split("_")[0]: rule for rule in rules}
    w.options["optimizer"] = "ts.optim." + r.choice(OPTIMIZERS).format(
        rules="".join(f", {rule}" for rule in kinds.values())
    )


@OPTION.production("accumulate", 1)
def accumulate(w: Writer, r: Random) -> None:
    w.options["accumulate"] = r.choice(("2", "3"))


@OPTION.production("ema", 1)
def ema(w: Writer, r: Random) -> None:
    w.options["ema"] = r.choice(("0.9", "0.3", "ts.optim.EMA(0.9, warmup=True)"))


STORAGES = (
    "trained='bf16'",
    "trained='f16'",
    "trained='bf16', master=True",
    "trained='f16', master=True, moments='bf16'",
    "frozen='bf16'",
    "frozen='f16'",
    "frozen='int8'",
    "moments='f16'",
    "moments='bf16'",
    "trained='bf16', frozen='int8'",
)


@OPTION.production("storage", 1)
def storage(w: Writer, r: Random) -> None:
    w.options["storage"] = f"ts.Storage({r.choice(STORAGES)})"


@OPTION.production("seed", 0.5)
def seed(w: Writer, r: Random) -> None:
    w.options["seed"] = r.choice(("1", "123456789", str(2**63 + 5)))


@OPTION.production("batch of all rows", 0.3)
def all_rows(w: Writer, r: Random) -> None:
    w.options["batch_size"] = "12"


@OPTION.production("uneven batches", 0.5)
def uneven(w: Writer, r: Random) -> None:
    w.options["batch_size"] = "5"


@OPTION.production("few steps", 0.3)
def few(w: Writer, r: Random) -> None:
    w.options["steps"] = r.choice(("1", "2"))
    w.options.pop("accumulate", None)
