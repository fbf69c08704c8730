"""`openledger serve`, `worker` and `train`; what they need is imported only when they run."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("torch", "safetensors", "tokenizers", "starlette", "hypercorn")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    _add_serve(subparsers)
    _add_worker(subparsers)
    _add_train(subparsers)


def _add_serve(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "serve", help="serve a base model and LoRA adapters in OpenAI's interface, without a chain"
    )
    _add_base(parser)
    parser.add_argument("--name", help="what the base model is called (its folder's name)")
    parser.add_argument(
        "--adapters",
        type=_adapters,
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="an adapter's PEFT folder, or a folder of them, each served by its folder's name",
    )
    callers = parser.add_mutually_exclusive_group(required=True)
    _add_keys(callers)
    callers.add_argument(
        "--no-auth", action="store_true", help="serve everybody on this machine, and nobody else"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to serve at (8000)")
    parser.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="URL",
        help="JSON-RPC of a node that adapters are fetched from by their hash; several are asked "
        "one after the other",
    )
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="where adapters are kept (a temporary folder)"
    )
    _add_device(parser)
    parser.add_argument(
        "--running",
        type=_positive,
        metavar="N",
        help="answers computed at once (24; 56 on a GPU)",
    )
    parser.add_argument(
        "--guests",
        type=_natural,
        metavar="N",
        help="further places for tenants of whom nothing is computed (2; 8 on a GPU)",
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        metavar="N",
        help="prompt tokens per step: fewer shorten the waits of others (64; 512 on a GPU)",
    )
    parser.add_argument(
        "--waiting", type=_positive, default=256, metavar="N", help="answers that may wait (256)"
    )
    parser.add_argument(
        "--waiting-per-tenant",
        type=_positive,
        default=64,
        metavar="N",
        help="of them, those of one key's name (64)",
    )
    parser.add_argument("--log", choices=("error", "warn", "info", "debug"), default="info")
    _add_replicas(parser)
    parser.set_defaults(run=_serve)


def _add_keys(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--api-keys",
        type=Path,
        metavar="FILE",
        help="lines name:key or name:sha256:<hex>; read again when it changes",
    )


def _add_worker(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "worker", help="serve paid inference and judge that of others, as a client of a node"
    )
    _add_node(parser)
    _add_base(parser)
    parser.add_argument(
        "-d", "--base-path", type=Path, required=True, metavar="DIR", help="folder for all data"
    )
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--key-uri", metavar="URI", help="secret of the worker's key; - asks stdin")
    secret.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with that secret; made at the first start (DIR/worker.key)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to serve at (8000)")
    parser.add_argument("--endpoint", metavar="URL", help="where customers reach it, on chain")
    parser.add_argument(
        "--validator-uri",
        metavar="URI",
        help="secret of the validator's key: registers or updates the worker on chain",
    )
    parser.add_argument(
        "--models", type=_numbers, default=(), metavar="ID,ID", help="offer only these models"
    )
    parser.add_argument(
        "--preload", type=_numbers, default=(), metavar="ID,ID", help="load these models at once"
    )
    _add_keys(parser)
    parser.add_argument("--capacity", type=_positive, default=64, help="requests at a time (64)")
    _add_device(parser)
    parser.add_argument(
        "--submit-receipts", type=_positive, default=256, metavar="N", help="submit at N receipts"
    )
    parser.add_argument(
        "--submit-blocks",
        type=_positive,
        default=600,
        metavar="N",
        help="submit when the oldest receipt is N blocks old",
    )
    parser.add_argument("--log", choices=("error", "warn", "info", "debug"), default="info")
    _add_replicas(parser)
    parser.set_defaults(run=_worker)


def _add_train(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train", help="fine-tune a LoRA adapter on a published Datanet version and index it"
    )
    _add_node(parser)
    _add_base(parser)
    parser.add_argument(
        "--datanet",
        type=_datanet,
        action="append",
        required=True,
        metavar="ID[:VERSION]",
        help="Datanet, its latest version by default; may be given several times",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--name", default="adapter", help="the adapter's name")
    parser.add_argument("--rank", type=_positive, default=16, help="rank of the adapter (16)")
    parser.add_argument("--alpha", type=float, help="LoRA's alpha (twice the rank)")
    parser.add_argument("--epochs", type=_positive, default=8, help="passes over the records (8)")
    parser.add_argument("--batch", type=_positive, default=8, help="records per step (8)")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="peak (0.004)")
    parser.add_argument("--held-out", type=float, default=0.04, help="share only measured (0.04)")
    parser.add_argument("--seed", type=int, default=0, help="fixes everything that is drawn (0)")
    parser.add_argument("--threads", type=_positive, help="cores to use (all)")
    parser.add_argument(
        "--coordinates", type=_positive, default=8192, help="of an influence code (8192)"
    )
    parser.add_argument("--layers", type=_positive, help="trace only the last N layers (all)")
    parser.add_argument("--span-tokens", type=_positive, default=8, help="shortest span (8)")
    parser.add_argument(
        "--submit", type=int, metavar="MODEL", help="register the artifact for this proposal"
    )
    parser.add_argument(
        "--key-uri", metavar="URI", help="secret of the model's owner; - asks stdin"
    )
    _add_ray(parser, "the building of the index")
    parser.set_defaults(run=_train)


def _add_replicas(parser: argparse.ArgumentParser) -> None:
    _add_ray(parser, "replicas of the engine")
    parser.add_argument(
        "--replicas", type=_positive, default=1, metavar="N", help="with --ray: engines (1)"
    )


def _add_ray(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help=f"spread {what} over a Ray cluster: host:port of its head, auto for the one that this "
        "machine is in, local to start one here",
    )


def _add_node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", default="ws://127.0.0.1:9944", metavar="URL", help="of the node's JSON-RPC"
    )


def _add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        type=Path,
        default=_embedded_base(),
        metavar="PATH",
        help="folder of the base model (the embedded one)",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_positive, default=1, help="per matrix product (1)")
    parser.add_argument(
        "--device", default="cpu", metavar="cpu|cuda[:N]", help="what computes: a GPU in bfloat16"
    )
    parser.add_argument(
        "--memory",
        type=_positive,
        metavar="MIB",
        help="of this machine's memory: for cache and adapters (768 pages of at most 2); "
        "with a GPU, for adapters that wait (an eighth of it)",
    )
    parser.add_argument(
        "--disk",
        type=_positive,
        metavar="MIB",
        help="of the disk, for adapters (a worker: and as much for artifacts); those that can be "
        "had again leave, the least used first (no limit)",
    )


def _embedded_base() -> Path | None:
    """Return the folder of the base model that is installed beside the node, if there is one."""
    if find_spec("genesis") is None:
        return None
    folder = Path(str(files("genesis"))) / "base_model" / "open-nano"
    return folder if (folder / "config.json").exists() else None


def _serve(arguments: argparse.Namespace) -> int:
    if not _is_complete(arguments):
        return 1
    from inference.worker.serve_command import run_serve

    return run_serve(arguments)


def _worker(arguments: argparse.Namespace) -> int:
    if not _is_complete(arguments):
        return 1
    from inference.worker.worker_command import run_worker

    return run_worker(arguments)


def _train(arguments: argparse.Namespace) -> int:
    if not _is_complete(arguments):
        return 1
    from inference.worker.train_command import run_train

    return run_train(arguments)


def _is_complete(arguments: argparse.Namespace) -> bool:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"openledger: {', '.join(missing)} missing; "
            "install the worker with pip install 'openledger-node[worker]'\n"
        )
    elif arguments.base is None:
        sys.stderr.write("openledger: name the base model's folder with --base\n")
    return not missing and arguments.base is not None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is negative")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _adapters(text: str) -> tuple[str, Path]:
    """Read NAME=FOLDER, or FOLDER; the name is empty then."""
    name, sign, folder = text.partition("=")
    return (name, Path(folder)) if sign else ("", Path(text))


def _datanet(text: str) -> tuple[int, int | None]:
    datanet, _, version = text.partition(":")
    return int(datanet), int(version) if version else None
