"""Train the base model, or export what a checkpoint holds."""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer

from inference.pretrain.artefacts import export
from inference.pretrain.decoder import DecoderConfig
from inference.pretrain.text import encode_stream, read_corpus, train_tokenizer
from inference.pretrain.train import Recipe, Trainer, train


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m inference.pretrain", description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, default=Path("genesis/data/corpus/corpus.txt.xz"),
        help="xz-compressed text, documents separated by form feeds",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("genesis/base_model/open-nano"))
    parser.add_argument("--work", type=Path, default=Path("build/pretrain"), help="checkpoints")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--decay", type=int, default=900, help="steps of falling learning rate")
    parser.add_argument("--minutes", type=float, default=1e9, help="pause after this long")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="do not compute in bfloat16")
    parser.add_argument("--fresh", action="store_true", help="ignore an existing checkpoint")
    parser.add_argument("--export-only", action="store_true", help="write the artefacts and stop")
    return parser.parse_args()


def main() -> None:
    """Prepare the data, train from the last checkpoint on, write the artefacts."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    split = read_corpus(arguments.corpus)
    config = DecoderConfig()
    vocabulary = arguments.work / "tokenizer.json"
    if arguments.fresh or not vocabulary.exists():
        train_tokenizer(split.train, config.vocab_size).save(str(vocabulary))
    tokenizer = Tokenizer.from_file(str(vocabulary))
    recipe = Recipe(steps=arguments.steps, decay=arguments.decay, bfloat16=not arguments.float32)
    trainer = Trainer(
        config, recipe, encode_stream(tokenizer, split.train),
        encode_stream(tokenizer, split.held_out),
    )  # fmt: skip
    checkpoint = arguments.work / "checkpoint.pt"
    if checkpoint.exists() and not arguments.fresh:
        trainer.load(checkpoint)
        print(f"going on from step {trainer.step}")
    if not arguments.export_only:
        done = train(trainer, checkpoint, arguments.minutes)
        print("done" if done else f"paused at step {trainer.step}; run again to go on")
    report = export(trainer, tokenizer, split, arguments.corpus, arguments.out)
    print(report.summary())


if __name__ == "__main__":
    main()
