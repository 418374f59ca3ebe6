"""Make small files in the columns of well-known datasets, of the embedded task, so that the embedded student can train.

    .venv/bin/python examples/data/make.py      # writes examples/data/*.jsonl and *.parquet

Each has 16 problems of examples/tiny/train.jsonl. The configs beside them say which columns are read.
"""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

HERE = Path(__file__).parent
ROWS = 16


def gsm8k(row: dict) -> dict:
    """openai/gsm8k: the answer is a worked solution whose last line is `#### 18`."""
    steps, _, _ = row["expert_trace"].rpartition(";")
    return {"question": row["problem"], "answer": steps.replace(";", "\n") + f"\n#### {row['answer']}"}


def math(row: dict) -> dict:
    """MATH (hendrycks): no column holds the answer alone, it stands in the solution's last box."""
    solution = row["expert_trace"].replace(";", ". ")
    return {"problem": row["problem"], "level": "Level 1", "type": "Prealgebra", "solution": solution}


def deepmath(row: dict) -> dict:
    """zwhe99/DeepMath-103K: the answer is in final_answer, beside solutions of DeepSeek-R1."""
    topic = {"difficulty": 1.0, "topic": "Mathematics -> Arithmetic"}
    return {"question": row["problem"], "final_answer": row["answer"], **topic, "r1_solution_1": row["expert_trace"]}


def dapo(row: dict) -> dict:
    """BytedTsinghua-SIA/DAPO-Math-17k: verl's columns, without a split."""
    reward = {"ground_truth": row["answer"], "style": "rule-lighteval/MATH_v2"}
    return verl(row) | {"data_source": "math_dapo", "reward_model": reward, "extra_info": {"index": row["id"]}}


def verl(row: dict) -> dict:
    """The parquet of verl's recipes: a chat as the prompt, the answer inside reward_model."""
    return {
        "data_source": "tiny",
        "prompt": [{"role": "user", "content": row["problem"]}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": row["answer"]},
        "extra_info": {"split": "train", "index": int(row["id"].removeprefix("train-"))},
    }


def main() -> None:
    lines = (HERE.parent / "tiny" / "train.jsonl").read_text().splitlines()
    tiny = [json.loads(line) for line in lines]
    files = (("gsm8k.jsonl", gsm8k), ("math.jsonl", math), ("deepmath.parquet", deepmath), ("dapo.parquet", dapo),
             ("verl.parquet", verl))  # fmt: skip
    for number, (name, form) in enumerate(files):
        rows = [form(row) for row in tiny[number * ROWS : (number + 1) * ROWS]]
        if name.endswith(".parquet"):
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), HERE / name)
        else:
            (HERE / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
