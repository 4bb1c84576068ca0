"""What may be said about a model: names, kinds and units, written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rectitude.core.errors import ConfigError, did_you_mean

Kind = Literal["flag", "number", "date", "category", "set"]


@dataclass(frozen=True)
class Attribute:
    """One column of a catalogue.

    Attributes:
        name: As in clauses.
        kind: What its cells hold.
        title: In words, for people.
        unit: Of numbers.
        better: The direction people usually want.
        group: Attributes of one group say nearly the same thing: their weights are capped together.
        yes: For flags, the words after "it" where the flag is true.
    """

    name: str
    kind: Kind
    title: str
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    group: str = ""
    yes: str = ""


_DOLLARS = "USD per million tokens"
_KNOWN = (
    Attribute("reasoning", "flag", "reasoning", yes="reasons before it answers"),
    Attribute("tool_call", "flag", "tool calling", yes="calls tools"),
    Attribute("structured_output", "flag", "structured output", yes="keeps to a JSON schema"),
    Attribute("vision", "flag", "images", yes="reads images"),
    Attribute("audio_in", "flag", "audio", yes="hears audio"),
    Attribute("video_in", "flag", "video", yes="sees video"),
    Attribute("pdf", "flag", "PDF", yes="reads PDF files"),
    Attribute("prompt_cache", "flag", "prompt caching", yes="caches prompts"),
    Attribute("open_weights", "flag", "open weights", yes="has open weights"),
    Attribute("streaming", "flag", "streaming", yes="streams"),
    Attribute("deprecated", "flag", "deprecated", yes="is deprecated"),
    Attribute("price_in", "number", "input price", _DOLLARS, "lower", "cost"),
    Attribute("price_out", "number", "output price", _DOLLARS, "lower", "cost"),
    Attribute("price_cached", "number", "price of cached input", _DOLLARS, "lower", "cost"),
    Attribute("price", "number", "price", _DOLLARS, "lower", "cost"),
    Attribute("job_cost", "number", "cost of the request", "USD", "lower", "cost"),
    Attribute("context", "number", "context", "tokens", "higher", "length"),
    Attribute("max_output", "number", "longest output", "tokens", "higher", "length"),
    Attribute("params_b", "number", "parameters", "billion", "lower", "size"),
    Attribute("latency_ms", "number", "latency", "ms", "lower", "speed"),
    Attribute("tokens_per_s", "number", "throughput", "tokens per second", "higher", "speed"),
    Attribute("released", "date", "release date", "", "higher", "age"),
    Attribute("knowledge_cutoff", "date", "knowledge cut-off", "", "higher", "age"),
    Attribute("deprecation", "date", "end of service", "", "higher", "age"),
    Attribute("model", "category", "model"),
    Attribute("provider", "category", "provider"),
    Attribute("maker", "category", "maker"),
    Attribute("family", "category", "family"),
    Attribute("region", "category", "region"),
    Attribute("licence", "category", "licence"),
    Attribute("vendor", "set", "provider or maker"),
    Attribute("modalities_in", "set", "input"),
    Attribute("modalities_out", "set", "output"),
    Attribute("languages", "set", "languages"),
)
ATTRIBUTES = {attribute.name: attribute for attribute in _KNOWN}
QUALITY = "q."
"""Scores in [0, 100] are named q.math, q.code, …; ``q.mean`` is the mean of a model's known scores."""
MEAN_QUALITY = "q.mean"
DERIVED = ("price", "job_cost", "vendor", MEAN_QUALITY)
"""Computed from other attributes and the request; a catalogue may give job_cost where it was measured."""


def denied(words: str) -> str:
    """The opposite of a flag's words: "reads images" is "does not read images"."""
    verb, _, rest = words.partition(" ")
    if verb in ("is", "has"):
        return f"is not {rest}" if verb == "is" else f"has no {rest}"
    return f"does not {verb.removesuffix('s')} {rest}".strip()


def attribute(name: str) -> Attribute:
    """The attribute of that name; any ``q.…`` is a score.

    Raises:
        ConfigError: There is no such attribute.
    """
    if name in ATTRIBUTES:
        return ATTRIBUTES[name]
    if name.startswith(QUALITY) and len(name) > len(QUALITY):
        title = "quality" if name == MEAN_QUALITY else f"{name.removeprefix(QUALITY)} score"
        return Attribute(name, "number", title, "points", "higher", "")
    raise ConfigError(
        f"No attribute of a model is called '{name}'", fix=did_you_mean(name, [*ATTRIBUTES, "q.code", "q.math"])
    )


def is_ordered(name: str) -> bool:
    """Can its values be compared with a number?"""
    return attribute(name).kind in ("number", "date")


FAMILIES = {
    "claude": ("anthropic", ("claude",)),
    "gpt-oss": ("openai", ("gpt-oss",)),
    "gpt": ("openai", ("gpt", "chatgpt", "codex", "davinci")),
    "o-series": ("openai", ("o1", "o3", "o4")),
    "gemini": ("google", ("gemini",)),
    "gemma": ("google", ("gemma",)),
    "llama": ("meta", ("llama",)),
    "qwen": ("alibaba", ("qwen", "qwq", "qvq")),
    "deepseek": ("deepseek", ("deepseek",)),
    "mistral": ("mistral", ("mistral", "mixtral", "ministral", "magistral", "codestral", "devstral", "pixtral")),
    "kimi": ("moonshot", ("kimi", "moonshot")),
    "glm": ("zhipu", ("glm", "chatglm")),
    "grok": ("xai", ("grok",)),
    "minimax": ("minimax", ("minimax",)),
    "command": ("cohere", ("command", "aya")),
    "nova": ("amazon", ("nova", "titan")),
    "phi": ("microsoft", ("phi",)),
    "nemotron": ("nvidia", ("nemotron",)),
    "jamba": ("ai21", ("jamba",)),
    "sonar": ("perplexity", ("sonar",)),
    "ernie": ("baidu", ("ernie",)),
    "hunyuan": ("tencent", ("hunyuan",)),
    "granite": ("ibm", ("granite",)),
    "mimo": ("xiaomi", ("mimo",)),
    "intern": ("shanghai-ai-lab", ("intern", "internlm")),
}
"""Family to its maker and the words that begin names of its models; the first family that fits is taken."""

COUNTRIES = {
    "china": ("alibaba", "baidu", "deepseek", "minimax", "moonshot", "shanghai-ai-lab", "tencent", "xiaomi", "zhipu"),
    "us": ("amazon", "anthropic", "google", "ibm", "meta", "microsoft", "nvidia", "openai", "perplexity", "xai"),
    "france": ("mistral",),
    "canada": ("cohere",),
    "israel": ("ai21",),
}
"""Where the makers of :data:`FAMILIES` have their seat."""

VENDORS = {
    "openai": ("openai", "open ai"),
    "anthropic": ("anthropic",),
    "google": ("google", "google-vertex", "vertex_ai", "vertex ai", "vertex", "google ai"),
    "meta": ("meta", "meta-llama", "meta_llama", "facebook"),
    "alibaba": ("alibaba", "qwen team", "alibaba-cn", "dashscope"),
    "deepseek": ("deepseek", "deepseek-ai"),
    "mistral": ("mistral", "mistralai", "mistral ai"),
    "moonshot": ("moonshot", "moonshotai", "moonshot ai", "moonshotai-cn"),
    "zhipu": ("zhipu", "z-ai", "zai", "zhipuai", "z.ai"),
    "xai": ("xai", "x-ai", "x.ai"),
    "minimax": ("minimax", "minimax-cn"),
    "cohere": ("cohere",),
    "amazon": ("amazon", "amazon-bedrock", "bedrock", "aws"),
    "microsoft": ("microsoft", "azure", "azure_ai", "azure-cognitive-services", "azure openai"),
    "nvidia": ("nvidia", "nvidia_nim"),
    "perplexity": ("perplexity",),
    "groq": ("groq",),
    "openrouter": ("openrouter",),
    "together": ("together", "together_ai", "togetherai", "together ai"),
    "fireworks": ("fireworks", "fireworks_ai", "fireworks-ai", "fireworks ai"),
}
"""Company to the names it goes by, as provider of endpoints and in what people write."""
_COMPANY = {alias: company for company, aliases in VENDORS.items() for alias in aliases}


def company(name: str) -> str:
    """The company behind a provider's name; a name we do not know is its own."""
    return _COMPANY.get(name.lower(), name.lower())
