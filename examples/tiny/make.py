"""Make the embedded default from nothing: problems, tokenizer, a student with bad habits, a clean teacher.

    make tiny-models          # writes examples/tiny/{student,teacher,*.jsonl}; the student took 9 min 30 s on one core

Seeded: the same machine gives the same files. Each model is trained by supervised fine-tuning in plain torch, on traces
drawn on the fly.
"""

import argparse
import json
import random
import re
from pathlib import Path

import torch
from task import CLEAN, STUDENT, Habits, Problem, draw_problem, write_trace
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, get_cosine_schedule_with_warmup

HERE = Path(__file__).parent
MAX_LENGTH = 128
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}"
    "{% elif m.role == 'assistant' %}<|assistant|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# (steps, learning rate, smallest K, largest K, share of problems with a hint) of each phase of supervised fine-tuning
STUDENT_PHASES = ((1400, 3e-3, 2, 5, 0.0), (300, 1.5e-3, 2, 6, 0.0), (1200, 2e-3, 2, 6, 0.5))
TEACHER_PHASES = ((1500, 3e-3, 2, 5, 0.0), (450, 1.5e-3, 2, 6, 0.0))
SHAPES = {
    "student": dict(hidden_size=96, num_hidden_layers=2, num_attention_heads=3, intermediate_size=192),
    "teacher": dict(hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256),
}
BATCH_SIZE = 64


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Tokenizer with one token per character, and one for `\\boxed{`."""
    special = ["<|pad|>", "<|end|>", "<|unk|>", "<|user|>", "<|assistant|>"]
    tokens = special + list("0123456789+-*=;?") + ["\\boxed{", "}"]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\\boxed\{|[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    # transformers loads a Qwen2 model's tokenizer as byte-level BPE, whatever its file says; an added token stays whole
    # either way
    tokenizer.add_tokens([AddedToken("\\boxed{", normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|unk|>",
        extra_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
    )


def make_data(seed: int, num_train: int, num_heldout: int) -> tuple[list[dict], list[dict]]:
    """Rows of train.jsonl and of heldout.jsonl, which have no problem in common; each has a clean expert trace.

    The first have K = 3..6 terms, the second K = 3 ("easy") or K = 6 ("hard").
    """
    rng = random.Random(seed)
    heldout, seen = [], set()
    for stratum, num_terms in (("easy", 3), ("hard", 6)):
        while sum(row["stratum"] == stratum for row in heldout) < num_heldout:
            p = draw_problem(rng, num_terms)
            if p.text not in seen:
                seen.add(p.text)
                row = {"id": f"{stratum}-{len(heldout)}", "problem": p.text, "answer": p.answer, "stratum": stratum}
                heldout.append(row | {"expert_trace": write_trace(p, rng)})
    train: list[dict] = []
    while len(train) < num_train:
        p = draw_problem(rng, 3 + len(train) % 4)
        if p.text not in seen:
            seen.add(p.text)
            row = {"id": f"train-{len(train)}", "problem": p.text, "answer": p.answer, "stratum": f"K{len(p.terms)}"}
            train.append(row | {"expert_trace": write_trace(p, rng)})
    return train, heldout


def draw_hinted(rng: random.Random, p: Problem, habits: Habits) -> tuple[str, str]:
    """Hint and response: what algorithms show after a problem, so that the student can read it, and what is said then.

    An answer, right or wrong, is followed by a trace that ends in it; a solution by itself; a masked one, which tells
    no number, by a trace with the usual habits.
    """
    kind = rng.choice(("answer", "solution", "masked"))
    if kind == "answer":
        trace = write_trace(p, rng, habits if rng.random() < 0.5 else CLEAN)
        return trace[-3:-1], trace
    if kind == "solution":
        trace = write_trace(p, rng)
        return trace, trace
    return re.sub(r"\d+", "*", write_trace(p, rng)), write_trace(p, rng, habits)


def draw_batch(
    rng: random.Random, k_range: tuple[int, int], hinted: float, habits: Habits, heldout: set[str], tokenizer
):
    """Token ids and labels of BATCH_SIZE sequences of prompt and trace, labels only on the response.

    A share `hinted` of the prompts has a hint.
    """
    ids, labels = [], []
    while len(ids) < BATCH_SIZE:
        p: Problem = draw_problem(rng, rng.randint(*k_range))
        if p.text in heldout:
            continue
        if hinted and rng.random() < hinted:
            hint, trace = draw_hinted(rng, p, habits)
        else:
            hint, trace = "", write_trace(p, rng, habits)
        prompt = tokenizer.encode(f"<|user|>{p.text}{hint}<|assistant|>")
        response = tokenizer.encode(trace + "<|end|>")
        ids.append(prompt + response)
        labels.append([-100] * len(prompt) + response)
    width = max(map(len, ids))
    pad = tokenizer.pad_token_id
    padded = [row + [pad] * (width - len(row)) for row in ids]
    return torch.tensor(padded), torch.tensor([row + [-100] * (width - len(row)) for row in labels])


def train_model(name: str, phases, habits: Habits, heldout: set[str], tokenizer, seed: int) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    shape = SHAPES[name]
    config = Qwen2Config(
        vocab_size=24,
        num_key_value_heads=shape["num_attention_heads"],
        tie_word_embeddings=True,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    model = Qwen2ForCausalLM(config)
    for number, (steps, lr, smallest, largest, hinted) in enumerate(phases, 1):
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
        scheduler = get_cosine_schedule_with_warmup(optimizer, 50, steps)
        bar = tqdm(range(steps), desc=f"{name} {number}/{len(phases)}", mininterval=2)
        for _ in bar:
            ids, labels = draw_batch(rng, (smallest, largest), hinted, habits, heldout, tokenizer)
            loss = model(ids, attention_mask=ids != tokenizer.pad_token_id, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--only", choices=["data", "student", "teacher"], help="make one part")
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    torch.set_num_threads(1)  # one thread is as fast as two at this size, and gives the same sums everywhere

    train, heldout = make_data(args.seed, num_train=3200, num_heldout=200)
    tokenizer = make_tokenizer()
    if args.only in (None, "data"):
        for file, rows in (("train.jsonl", train), ("heldout.jsonl", heldout)):
            (args.out / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden = {row["problem"] for row in heldout}
    for name, phases, habits in (("student", STUDENT_PHASES, STUDENT), ("teacher", TEACHER_PHASES, CLEAN)):
        if args.only in (None, name):
            model = train_model(name, phases, habits, hidden, tokenizer, args.seed)
            model.to(torch.bfloat16).save_pretrained(args.out / name)
            tokenizer.save_pretrained(args.out / name)
            print(f"{name}: {model.num_parameters():,} params in {args.out / name}")


if __name__ == "__main__":
    main()
