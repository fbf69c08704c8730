"""The sites that PEFT's `adapter_config.json` changes, their ranks and scales, by its own rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.patterns import Pattern
from inference.adapters.peft_options import check_options
from inference.adapters.spec import SiteShape, check_alpha, check_rank, site_scale
from inference.backbone.config import LlamaConfig
from inference.backbone.sites import MODULES, LoraSite, lora_sites

ALL_LINEAR = "all-linear"
ELSEWHERE = ("lm_head", "model.embed_tokens")
"""Other modules that PEFT would adapt."""

MAX_NAMES = 4096
ANY_LAYERS = r".*?\.[^.]*\.(?P<idx>\d+)\."

Chosen = Callable[[str], bool]


def read_shape(fields: dict[str, Any], config: LlamaConfig) -> dict[LoraSite, SiteShape]:
    """Read the changed sites of an adapter; raises AdapterRefused."""
    check_options(fields)
    try:
        return _shape(fields, config)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AdapterRefused(
            AdapterReason.UNREADABLE, f"adapter_config.json: {type(error).__name__} {error}"
        ) from error


def _shape(fields: dict[str, Any], config: LlamaConfig) -> dict[LoraSite, SiteShape]:
    chosen = _chosen(fields, config)
    ranks = _by_pattern(fields, "rank_pattern", check_rank(_integer(fields.get("r", 8), "r")))
    alpha = check_alpha(_number(fields.get("lora_alpha", 8), "lora_alpha"))
    alphas = _by_pattern(fields, "alpha_pattern", alpha)
    rslora = bool(fields.get("use_rslora"))
    for name in ELSEWHERE:
        if chosen(name):
            raise AdapterRefused(
                AdapterReason.UNKNOWN_TARGET, f"target_modules takes {name}, which is not adapted"
            )
    shape = {}
    for site in lora_sites(config):
        if chosen(site.path):
            rank = check_rank(_integer(ranks(site.path), "rank_pattern"))
            scale = site_scale(_number(alphas(site.path), "alpha_pattern"), rank, rslora)
            shape[site] = SiteShape(rank, scale)
    if not shape:
        raise AdapterRefused(AdapterReason.UNKNOWN_TARGET, "target_modules takes no linear layer")
    return shape


def _chosen(fields: dict[str, Any], config: LlamaConfig) -> Chosen:
    excluded = _excluded(fields.get("exclude_modules"))
    targets = fields.get("target_modules")
    layers, pattern = fields.get("layers_to_transform"), fields.get("layers_pattern")
    if isinstance(targets, str):
        if layers is not None or pattern is not None:
            raise AdapterRefused(
                AdapterReason.UNSUPPORTED_OPTION,
                "layers_to_transform and layers_pattern need a list of target_modules",
            )
        if targets.lower() == ALL_LINEAR:
            every = frozenset(site.path for site in lora_sites(config))
            return lambda name: name in every and not excluded(name)
        whole = Pattern("target_modules", targets).whole
        return lambda name: whole(name) and not excluded(name)
    names = _names(targets, "target_modules")
    _check_targets(names, config)
    exact = frozenset(names)
    in_layers = _in_layers(layers, pattern)
    return lambda name: (
        not excluded(name) and (name in exact or (_ends(name, names) and in_layers(name)))
    )


def _check_targets(names: tuple[str, ...], config: LlamaConfig) -> None:
    every = [site.path for site in lora_sites(config)]
    if not names:
        raise AdapterRefused(AdapterReason.UNKNOWN_TARGET, "target_modules is empty")
    for name in names:
        if not any(path == name or path.endswith(f".{name}") for path in every):
            raise AdapterRefused(
                AdapterReason.UNKNOWN_TARGET,
                f"{name} is no linear layer of this model; known are {', '.join(MODULES)}",
            )


def _excluded(value: Any) -> Chosen:
    if not value:
        return lambda name: False
    if isinstance(value, str):
        return Pattern("exclude_modules", value).whole
    names = _names(value, "exclude_modules")
    return lambda name: name in names or _ends(name, names)


def _in_layers(layers: Any, pattern: Any) -> Chosen:
    if pattern and layers is None:
        raise AdapterRefused(
            AdapterReason.UNSUPPORTED_OPTION, "layers_pattern needs layers_to_transform"
        )
    if layers is None or layers == []:
        return lambda name: True
    numbers = layers if isinstance(layers, list) else [layers]
    wanted = frozenset(_integer(number, "layers_to_transform") for number in numbers)
    texts = [pattern] if isinstance(pattern, str) and pattern else pattern or []
    patterns = [
        Pattern("layers_pattern", rf"(?:^|.*?\.){text}\.(?P<idx>\d+)\.")
        for text in _names(texts, "layers_pattern")
    ] or [Pattern("layers_pattern", ANY_LAYERS)]

    def inside(name: str) -> bool:
        found = (p.group(name, "idx") for p in patterns if p.start(name))
        index = next(found, None)
        return index is not None and int(index) in wanted

    return inside


def _by_pattern(fields: dict[str, Any], option: str, default: Any) -> Callable[[str], Any]:
    given = fields.get(option) or {}
    if not isinstance(given, dict) or len(given) > MAX_NAMES:
        raise TypeError(f"{option} is no object of at most {MAX_NAMES} entries")
    patterns = [(Pattern(option, rf"(.*\.)?({key})$"), value) for key, value in given.items()]

    def value_of(name: str) -> Any:
        # A name that no pattern matches is looked up as it is, as PEFT does.
        return next((v for p, v in patterns if p.start(name)), given.get(name, default))

    return value_of


def _names(value: Any, option: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{option} is not a list of names")
    if len(value) > MAX_NAMES:
        raise TypeError(f"{option} lists more than {MAX_NAMES} names")
    return tuple(value)


def _ends(name: str, names: tuple[str, ...]) -> bool:
    return any(name.endswith(f".{end}") for end in names)


def _integer(value: Any, option: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} is not an integer")
    return value


def _number(value: Any, option: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{option} is not a number")
    return check_alpha(float(value))
