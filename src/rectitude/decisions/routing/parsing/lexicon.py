"""The words of feedback: what each pattern of English means to the rule parser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

from rectitude.decisions.routing.attributes import COUNTRIES, FAMILIES, VENDORS
from rectitude.decisions.routing.clauses import Atom
from rectitude.decisions.routing.parsing.dates import calendar_dates, relative_dates


@dataclass
class Mention:
    """A piece of text that means something.

    Attributes:
        kind: flag, grade, comp, noun, qual, number, date, cmp, neg, modal, entity, than, factor, like, likeness, same,
            or, and, comma, stop, only, drop, undo, first, then, about, last, barred, fill.
        start: Where it begins.
        end: Where it ends.
        attr: Attribute it names, where it does.
        value: What it says of it: a flag's value, an operator, a number, names.
        strength: Of modal words.
        hard: Of modal words.
        unit: Of numbers.
        used: Has another mention taken it up?
    """

    kind: str
    start: int
    end: int
    attr: str = ""
    value: Any = None
    strength: int = 3
    hard: bool = False
    unit: str = ""
    used: bool = field(default=False, compare=False)


_FLAGS = {
    (
        "reasoning",
        True,
    ): r"reasoning(?: models?)?|reasoner|(?<!this )(?<!that )(?<!the )reason(?! why)|reasons(?! (?:why|for|to)\b)|"
    r"thinking(?: models?)?|thinks? (?:first|before|step by step|hard)|chain[- ]of[- ]thought",
    (
        "tool_call",
        True,
    ): r"tool[- ]?(?:calling|calls?|use)|function[- ]?call(?:ing|s)?|(?:call |use )?(?:tools|functions)",
    ("structured_output", True): r"structured[- ]outputs?|(?:valid )?json(?:[- ](?:schemas?|mode|output))?|schemas?",
    ("vision", True): r"vision|multi-?modal|images?|pictures?|photos?|photographs?|screenshots?|diagrams?",
    ("audio_in", True): r"audio|voice|speech|spoken|recordings?",
    ("video_in", True): r"videos?(?: clips?)?",
    ("pdf", True): r"pdfs?(?: files?| documents?)?",
    ("prompt_cache", True): r"prompt[- ]cach(?:ing|e)|cach(?:ing|ed prompts?)",
    ("open_weights", True): r"open[- ]?(?:weights?|source|models?)|self[- ]?host(?:ed|able|ing)?|on[- ]prem(?:ises?)?|"
    r"open(?![- ]?ai\b)(?! (?:to|the|a|for)\b)",
    ("open_weights", False): r"closed(?:[- ](?:source|weights?|models?))?|proprietary",
    ("streaming", True): r"stream(?:ing|s)?",
    ("deprecated", True): r"deprecated",
}
_GRADES = {
    ("price_in", "low"): r"(?:cheap(?:est)?|low(?:est)?) input(?: (?:price|cost|token)s?)?",
    ("price_out", "low"): r"(?:cheap(?:est)?|low(?:est)?) output(?: (?:price|cost|token)s?)",
    ("price", "low"): r"(?:keep|get|bring) (?:the |its |my |our )?(?:price|cost)s? (?:down|low|to a minimum)|"
    r"(?:can't|cannot) (?:spend|afford|pay) (?:a lot|much)|cheap(?:ly|ish)?|money is tight|"
    r"(?:price|cost)[- ]sensitive|inexpensive|affordable|low[- ](?:cost|price)|budget|economical|cheapest",
    ("price", "high"): r"expensive|pricey|costly",
    ("latency_ms", "low"): r"fast(?:est)?|quick(?:ly|est)?|snappy|responsive|speedy|rapid",
    ("latency_ms", "high"): r"slow(?:est)?|sluggish|laggy",
    ("q.mean", "high"): r"smart(?:est)?|clever(?:est)?|intelligent|capable|accurate|powerful",
    ("q.mean", "low"): r"dumb|stupid|inaccurate",
    ("q.chat", "high"): r"writes? (?:really |very )?(?:well|beautifully|nicely)",
    ("q.code", "high"): r"codes? (?:best|(?:really |very )?well)",
    ("params_b", "low"): r"light-?weight|tiny",
    ("params_b", "high"): r"huge|gigantic",
    ("released", "high"): r"new(?:est)?|recent|latest|modern|up[- ]to[- ]date|fresh",
    ("released", "low"): r"old(?:est)?|outdated|dated|stale|ancient",
}
_COMPARATIVES = {
    (
        "price",
        "low",
    ): r"cheaper|(?:for )?a fraction of the (?:price|cost)|less (?:expensive|costly|pricey)|more affordable",
    ("price", "high"): r"(?:more expensive|pricier|costlier|dearer)",
    ("latency_ms", "low"): r"faster|quicker",
    ("latency_ms", "high"): r"slower",
    ("q.mean", "high"): r"smarter|cleverer|more (?:accurate|capable|intelligent|powerful)",
    ("released", "high"): r"newer|more recent|more modern|later",
    ("released", "low"): r"older|earlier|less recent",
    ("", "better"): r"better|stronger",
    ("", "worse"): r"worse|weaker",
    ("", "high"): r"bigger|larger|longer|higher|greater|wider|more",
    ("", "low"): r"smaller|shorter|lower|fewer|less",
}
_QUALIFIERS = {
    "better": r"good|great|strong|best|excellent|well|a lot of|top",
    "worse": r"bad|poor|weak|terrible",
    "high": r"high|long|large|big|wide|largest|longest|biggest|highest",
    "low": r"low|short|small|little|smallest|shortest|lowest",
}
_NOUNS = {
    "price_in": r"input (?:price|cost)s?|prices? (?:of|for) input(?: tokens)?",
    "price_out": r"output (?:price|cost)s?|prices? (?:of|for) output(?: tokens)?",
    "price_cached": r"cached? (?:input )?(?:price|cost)s?",
    "price": r"prices?|costs?|costing|pricing|charges?|money",
    "job_cost": r"(?:a |each |every |one )?(?:request|query|call)(?! tools)s?",
    "latency_ms": r"latency|response times?|answers? (?:with)?in",
    "-latency_ms": r"speed",
    "tokens_per_s": r"throughput",
    "context": r"contexts?(?: (?:window|length|size)s?)?|window|"
    r"(?:long|large) (?:\w+ )?(?:documents?|inputs?|prompts?|texts?|files?|books?|transcripts?|contracts?)",
    "max_output": r"(?:max(?:imum)?|longest) output(?! (?:token )?(?:price|cost))|output (?:limits?|lengths?)",
    "output": r"output(?: tokens)?",
    "input": r"input(?: tokens)?",
    "params_b": r"param(?:eter)?s|size",
    "knowledge_cutoff": r"knowledge cut-?off|cut-?off(?: date)?|training data",
    "released": r"release(?: date)?|released",
    "q.mean": r"quality|accuracy|intelligence",
    "q.code": r"cod(?:e|ing|er)|programm(?:ing|er)|software(?: engineering)?|"
    r"python|javascript|typescript",
    "q.math": r"math(?:s|ematics|ematical)?",
    "q.knowledge": r"(?:factual |general |world )?knowledge|facts|trivia",
    "q.agentic": r"agents?|agentic(?: (?:tasks?|work))?",
    "q.chat": r"writ(?:ing|er|es)|prose|chat(?:ting)?|conversations?",
}
_LIKE = {
    "alike": r"(?:i|we)(?: am| are|'m|'re)? (?:currently |now |already )?(?:use|using|on)|"
    r"(?:just |much |exactly |a lot )?like|(?:very )?similar to|akin to|close to|comparable (?:to|with)|"
    r"along the lines of|(?:an? )?equivalent (?:to|of)|(?:in|of) the (?:same )?(?:style|spirit|class|league) (?:of|as)",
    "instead": r"(?:an? )?(?:alternative|replacement|substitute) (?:to|for|of)|replac(?:e|ing)|instead of|"
    r"(?:switch|mov)(?:e|ing)? (?:away )?from",
    "match": r"match(?:es|ing)?|on (?:a )?par with|rival(?:s|ling)?|equal(?:s|ling)?(?: to)?",
}
"""Words of likeness before a model: like it; like it, but another; at least as good."""
_LIKENESS = r"(?:class|level|like|grade|quality|calib(?:re|er)|style)(?: models?)?"
_BEATS = r"beats?|beating|outperform(?:s|ing)?|outdo(?:es)?|surpass(?:es|ing)?|outclass(?:es)?"
_SAME = r"(?:the )?same|equal(?=ly)|as (?:much|many|long|large|big|wide)"
_TIMES = {"two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "a hundred": 100}
_PARTS = {"third": 3, "quarter": 4, "fifth": 5, "tenth": 10, "hundredth": 100}
_COMPARE = {
    "<=": r"at most|at or below|up to|max(?:imum)?(?: of)?|<=|≤|=<|within|or (?:less|fewer|lower|below|cheaper|under)|"
    r"at the most|cap(?:ped)? at",
    ">=": r"at least|at or above|min(?:imum)?(?: of)?|at (?:a )?minimum|>=|≥|=>|or (?:more|higher|above|larger|"
    r"longer|greater|later|newer)|"
    r"since|starting|from(?= (?:20|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))",
    "<": r"under|below|less than|lower than|fewer than|smaller than|shorter than|before|earlier than|until|<",
    ">": r"over|above|more than|higher than|greater than|larger than|bigger than|longer than|exceed(?:s|ing)?|after|"
    r"later than|beyond|>",
}
_MODALS = {
    (
        5,
        True,
    ): r"(?:must|(?:has|have|needs?) to) be (?:there|supported|included|available|hosted there)|"
    r"must (?:both |all )?work|must|needs?(?: to)?|have to|has to|require[sd]?|mandatory|essential|a must|"
    r"non-negotiable|make sure|ensure|needed|necessary|critical|crucial|vital|(?:a )?(?:hard |strict )?requirements?",
    (
        5,
        False,
    ): r"really|strongly|ideally|above all|most of all|as possible|(?:very )?important|matters(?: a lot| most)?|"
    r"(?:my|our|the) (?:main|biggest|top|first) (?:concern|priority)",
    (
        4,
        False,
    ): r"prefer(?:s|red|ably|ence)?|should|want|would (?:really )?like|i'd (?:really )?like|would (?:rather|"
    r"appreciate)|"
    r"i'd (?:rather|appreciate)|i like|rather have|(?:would|will) be (?:best|better|ideal|perfect|preferable)|"
    r"(?:is|are) (?:better|preferable|best)(?=\s*(?:[.,;!]|$))",
    (
        2,
        False,
    ): r"nice(?: to have)?|if possible|where possible|(?:would|will) be (?:nice|good|great|lovely|a plus|a bonus)|"
    r"a bonus|optionally|if you can",
    (1, False): r"slightly|maybe|perhaps|a bit|a little|somewhat",
}
SOFTENING = re.compile(
    r"prefer|ideally|possible|nice|bonus|optional|slightly|maybe|perhaps|a bit|a little|somewhat|rather|would be"
)
"""Modal words that make even a limit or an exclusion soft; "want" and "should" do not."""
_NEGATIONS = (
    r"not|no|never|without|avoid|except(?: for)?|exclud(?:e|ing)|other than|(?:any(?:thing|one|body)|everything) but|"
    r"outside(?: of)?|leave out|(?:stay|keep) away from|steer clear of|nothing(?: from)?|neither|none of|nobody|skip|"
    r"(?:do|does|is|are|was|has|have|should|must|can|could|would|may|need|wo|ca)n't|cannot"
)
_LEAVE = (
    r"not necessarily|(?:do|does)(?:n't| not) (?:need|have)(?: to)?|no need (?:for|to)|need not|forget(?: about)?|"
    r"never ?mind|(?:do|does)(?:n't| not) (?:really )?care(?: about)?|ignore|drop|regardless of|no matter|no "
    r"preference(?: (?:on|for|about))?"
)
_IRRELEVANT = (
    r"(?:do|does)(?:n't| not) (?:really )?matter|(?:is|are)(?:n't| not) (?:so |that |very |really "
    r")?(?:important|a must|required|needed|necessary|mandatory)"
    r"|(?:is|are) (?:irrelevant|unimportant|no (?:issue|concern|object))|matters? less"
)
_BARRED = (
    r"(?:is|are|must be|should be) (?:strictly )?(?:banned|forbidden|prohibited|excluded|ruled out|blocked|"
    r"unacceptable|"
    r"off[- ]limits|not (?:allowed|permitted|acceptable|an option)(?! to)|out(?= of the question|\s*(?:[.,;]|$)))"
    r"|(?:is|are)n't (?:allowed|permitted|acceptable|an option)(?! to)"
)
"""What is said after a name or an ability that is excluded."""
ATTACK = re.compile(
    r"\b(?:ignor\w+|disregard\w*|overrid\w+|bypass\w*|forget\w*|lift\w*|drop|regardless of|no longer "
    r"appl\w+)\b[^.;!?\n]{0,60}"
    r"\b(?:rules?|instructions?|polic(?:y|ies)|constraints?|restrictions?|clauses?|exclusions?|requirements?|"
    r"prompts?)\b"
    r"|\b(?:rules?|instructions?|polic(?:y|ies)|constraints?|restrictions?|exclusions?|requirements?)\b[^.;!?\n]{0,60}"
    r"\b(?:no longer appl\w+|(?:are|is) (?:lifted|void|off|removed|suspended)|are allowed|do(?:es)? not apply)"
    r"|\b(?:no longer appl\w+|regardless of any|developer mode|system prompt|jailbreak|you are now|set the weight)\b"
    r"|\bis allowed now\b|^\s*system\s*:"
)
"""Text that talks to the router about its rules instead of saying what is wished for."""
_FILL = (
    r"^\s*(?:no|yes|ok|okay)(?=[,:])|,?\s*(?<!\w)the better(?=\s*(?:[.;!?,]|$|and\b))|(?<!\w)(?:"
    r"(?:is|was) (?:great|good|fine|ok(?:ay)?|nice|perfect|excellent|decent)(?=,? (?:but|though)\b)|"
    r"more (?:so )?than any(?:thing|body)?(?: else)?|"
    r"rather than (?:any(?:thing|where)?|elsewhere|only|others?)(?: (?:else|other|text))*(?: models?)?|"
    r"or (?:better|stronger|smarter|faster|quicker)(?! (?:at|in)\b)|"
    r"over (?:all )?others?|other than that|any other|than any other|on second thought|changed my mind|after all|"
    r"not only|as well|no idea|know how it compares|at all|tell tools|whatever else)(?!\w)"
)
_REGIONS = {
    "eu": r"(?:the )?eu|europe(?:an(?: union)?)?|gdpr",
    "us": r"(?:the )?(?:us|usa|united states)(?= |$|[.,;])|america",
}
_MADE = r"(?:[- ](?:made|built|owned|based|origin))?"
_MAKERS = r"(?:models?|llms?|ais?|ones|makers?|compan(?:y|ies)|firms?|labs?|vendors?|developers?)"
_ORIGINS = {
    "china": (r"chinese", r"china|prc"),
    "us": (r"american|u\.?s\.?|usa", r"(?:the )?(?:us|u\.s\.|usa|united states|america)"),
    "europe": (r"european|eu", r"(?:the )?(?:eu|europe)"),
    "france": (r"french", r"france"),
    "canada": (r"canadian", r"canada"),
    "israel": (r"israeli", r"israel"),
}
"""Country to its adjective and its name; Europe's makers are those of its countries."""
_LICENCES = {"mit": r"mit licen[cs]ed?", "apache-2.0": r"apache(?: 2(?:\.0)?)?(?: licen[cs]ed?)?"}
_LANGUAGES = (
    "german|french|spanish|italian|portuguese|chinese|japanese|korean|arabic|hindi|dutch|polish|turkish|russian"
)
_HOSTS = {
    "azure": r"azure", "amazon-bedrock": r"(?:amazon |aws )?bedrock", "google-vertex": r"(?:google )?vertex(?: ai)?",
    "groq": r"groq", "togetherai": r"together(?: |-)?ai", "fireworks-ai": r"fireworks(?: |-)?ai",
    "openrouter": r"openrouter",
    "cerebras": r"cerebras", "deepinfra": r"deepinfra", "github-models": r"github models", "ollama": r"ollama",
}  # fmt: skip
_FREE = r"(?<!feel )free(?: of charge)?(?! (?:to|text|form|hand|from)\b)|(?:at )?(?:no|zero) cost"
_HOSTED = r"(?:hosted|served|running|runs?|available)(?: (?:on|by|in|at|via|through|from))?|via|through"
_AMBIGUOUS = {"command", "nova", "titan", "intern", "granite", "sonar", "aya", "codex", "phi", "nemo"}
"""Families whose names are words: they count only with a capital."""

_NUMBER = re.compile(
    r"(?P<cur>\$|usd ?)?(?<![\w.-])(?P<num>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e-?\d+)?|\.\d+"
    r"|(?:an?|one|two|three|four|five|ten|twenty|fifty)(?= (?:us )?(?:dollar|cent|buck)))"
    r"(?: ?(?P<mag>k|thousand|mn?|million|bn?|billion)(?![a-z]))?(?P<plus>\+)?"
    r"(?: ?(?P<unit>usd|(?:us )?dollars?|bucks?|cents?|ct|¢|\$|ms|milli-?seconds?|seconds?|secs?|s(?![a-z])|%|percent|"
    r"tok(?:en)?s?(?: ?/ ?s(?:ec(?:ond)?)?| per sec(?:ond)?)|tps|(?:output |input )?tok(?:en)?s?|"
    r"param(?:eter)?s?|points?)(?![a-z]))?"
    r"(?: ?(?:/|per|a|each) ?(?P<per>1? ?mtok|1 ?m(?![a-z])|m(?![a-z])|(?:1 ?|one )?million|1? ?k(?![a-z])|(?:1 "
    r"?|one )?thousand|1[,.]?000|"
    r"1[,.]?000[,.]?000|(?=(?:in|out)put tok)|token|request|query|call|job)"
    r"(?: ?(?P<side>in|out)?(?:put )?tok(?:en)?s?)?)?"
)
_SPELT = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "twenty": 20, "fifty": 50}
_MAGNITUDE = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9}
VERSIONED = re.compile(
    rf"(?<![\w-])(?:{'|'.join(start for _, starts in FAMILIES.values() for start in starts if len(start) > 2)})"
    r"(?:[- ]?v?\d[\w.]*)(?:-\w+)*(?<![.-])"
)
"""A family's name with a version: the name of a model, known or not."""
_WORDS = """
    a able about accept accepts actually all allowed also am an and any anything appreciate are as at be been both
    but by can choose companies company company's compliant considerably could currently data did do does each
    either else even every fairly far find fine for from get give go had handle handles has has'nt have hear hello
    hey hi hosted hosting i i'd i'm if im in instead into is it it's its just keep kindly know knows legal less let
    like liked llm look looking lot love lower make many may me might model models more most much must-have my
    needed no not now of offer ok okay on one ones only or other others our output own per pick please process
    produce quite reach reaches read reads really region rely return returns run runs same says score scored scores
    scoring see select serve served shall significantly so some something somewhat sorry speak speaks stay still
    substantially support supported supporting supports sure take than thank thanks that that's the then there
    these they this those to today token tokens too understand understands us use very was way we well were what
    whatever when where which who will wish with work working works would would'd write yes you your
"""
STOPWORDS = frozenset(_WORDS.split())
"""Words that say nothing about models; what is neither these nor a mention is shown as not understood."""


def _word(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{pattern})(?![\w])")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Every pattern with what its mentions carry; the order decides between equals."""
    found: list[tuple[re.Pattern[str], dict[str, Any]]] = [
        (re.compile(_FILL), {"kind": "fill"}),
        (_word(_IRRELEVANT), {"kind": "undo"}),
        (_word(_LEAVE), {"kind": "drop"}),
        (
            _word(r"nothing but|only|solely|exclusively|nothing except|none but|(?:and )?(?:nothing|no one|none) else"),
            {"kind": "only"},
        ),
        (_word(_NEGATIONS), {"kind": "neg"}),
        (_word(r"half(?: (?:of|the|as much))*|a half"), {"kind": "factor", "value": 0.5}),
        (_word(r"twice|double"), {"kind": "factor", "value": 2.0}),
        *(
            (_word(rf"(?:a|one)[- ]{p}(?: of)?(?: the)?"), {"kind": "factor", "value": 1 / n})
            for p, n in _PARTS.items()
        ),
        *((_word(rf"{word} times"), {"kind": "factor", "value": float(n)}) for word, n in _TIMES.items()),
        *((_word(pattern), {"kind": "like", "value": value}) for value, pattern in _LIKE.items()),
        (re.compile(rf"(?:(?<=\d[- ])|(?<=\w-)){_LIKENESS}(?!\w)"), {"kind": "likeness", "value": "alike"}),
        (_word(_SAME), {"kind": "same"}),
        (_word(_BEATS), {"kind": "comp", "value": "better", "unit": "than"}),
        (_word(r"half a second"), {"kind": "number", "value": 500.0, "unit": "ms"}),
        (_word(r"between"), {"kind": "between"}),
        (_word(_FREE), {"kind": "limit", "value": Atom(attr="price", op="<=", value=0.0)}),
        (_word(r"off|disabled|switched off|turned off"), {"kind": "off"}),
        (_word(_BARRED), {"kind": "barred"}),
        (_word(r"around|about(?= (?:\$|\d))|roughly|approximately|circa"), {"kind": "about"}),
        (_word(r"first(?! before)|most important(?:ly)?|more important|top priority"), {"kind": "first"}),
        (_word(r"and then|then|second(?:ly)?(?= )|after that"), {"kind": "then"}),
        (_word(r"or|nor"), {"kind": "or"}),
        (_word(r"and|plus|as well as|&"), {"kind": "and"}),
        (re.compile(r",(?!\d)"), {"kind": "comma"}),
        (re.compile(r"[;!?\n]|\.(?!\d)"), {"kind": "stop"}),
        (
            _word(r"but(?! not necessarily)|however|though|although|as long as|because|while"),
            {"kind": "stop", "value": "but"},
        ),
        (_word(r"than"), {"kind": "than"}),
        (
            _word(
                r"that one|the last one|last time|the previous one|the current one|it now is|before that|"
                r"(?<=than )(?:that|it|this)(?=\s*(?:[.,;!]|$))|(?<=like )(?:it|that)"
            ),
            {"kind": "last"},
        ),
        (_word(_HOSTED), {"kind": "hosted"}),
    ]
    found += [(_word(p), {"kind": "flag", "attr": attr, "value": value}) for (attr, value), p in _FLAGS.items()]
    found += [(_word(p), {"kind": "comp", "attr": attr, "value": value}) for (attr, value), p in _COMPARATIVES.items()]
    found += [(_word(p), {"kind": "grade", "attr": attr, "value": value}) for (attr, value), p in _GRADES.items()]
    found += [(_word(p), {"kind": "qual", "value": value}) for value, p in _QUALIFIERS.items()]
    found += [(_word(p), {"kind": "noun", "attr": attr}) for attr, p in _NOUNS.items()]
    for op, pattern in _COMPARE.items():
        found.append(
            (
                re.compile(rf"(?<![\w-])(?:{pattern})(?!\w)" if op in "<>" else rf"(?<!\w)(?:{pattern})(?!\w)"),
                {"kind": "cmp", "value": op},
            )
        )
    for (strength, hard), pattern in _MODALS.items():
        found.append((_word(pattern), {"kind": "modal", "strength": strength, "hard": hard}))
    for attr, names in (("region", _REGIONS), ("licence", _LICENCES), ("provider", _HOSTS)):
        found += [(_word(p), {"kind": "entity", "attr": attr, "value": (name,)}) for name, p in names.items()]
    for country, (adjective, name) in _ORIGINS.items():
        of = [country] if country in COUNTRIES else ["france"]
        makers = tuple(maker for each in of for maker in COUNTRIES[each])
        origin = rf"(?:{adjective}){_MADE} {_MAKERS}|(?:made|built|developed|trained) in (?:{name})|"
        origin += rf"{_MAKERS} (?:from|of) (?:{name})|(?:coming|comes?|originating) from (?:{name})"
        origin += rf"|(?:from|by) (?:{name})" if country not in _REGIONS and country != "europe" else ""
        found.append((_word(origin), {"kind": "entity", "attr": "maker", "value": makers}))
    families = {start for _, starts in FAMILIES.values() for start in starts}
    hosts = "|".join(_HOSTS.values())
    for company, aliases in VENDORS.items():
        pattern = "|".join(re.escape(alias).replace("\\-", "[- ]") for alias in aliases if alias not in families)
        if pattern and not re.fullmatch(hosts, aliases[0]):
            found.append((_word(f"(?:{pattern})(?:'s)?"), {"kind": "entity", "attr": "vendor", "value": (company,)}))
    for family, (_, starts) in FAMILIES.items():
        for start in starts:
            if start not in ("moonshot",):
                found.append(
                    (
                        _word(rf"{re.escape(start)}s?"),
                        {"kind": "entity", "attr": "family", "value": (family,), "unit": start},
                    )
                )
    return found


_PRONOUN = re.compile(r"\bus\b")  # in small letters it is no country


def scan(text: str, original: str, today: date) -> list[Mention]:
    """Every mention in a text, overlapping ones too.

    Args:
        text: Lower-cased, of the same length as ``original``.
        original: As written, for capitals.
        today: What "in the last year" is counted from.
    """
    found = [
        Mention(start=match.start(), end=match.end(), **carried)
        for pattern, carried in _patterns()
        for match in pattern.finditer(text)
        if match.end() > match.start()
    ]
    found = [m for m in found if m.unit not in _AMBIGUOUS or original[m.start].isupper()]
    found = [m for m in found if not (m.attr in ("region", "maker") and _PRONOUN.search(original[m.start : m.end]))]
    for mention in found:
        mention.hard = mention.hard or text[mention.start : mention.end].startswith(("gdpr", "on-prem", "on prem"))
    found += [
        Mention("entity", match.start(1), match.end(1), attr="languages", value=(match[1],))
        for match in re.finditer(
            rf"\b(?:speak|support|understand|handle|write|know|in|for|good|fluent)s? ({_LANGUAGES})\b", text
        )
    ]
    dates = [Mention("date", start, end, value=day) for start, end, day in calendar_dates(text)]
    dates += [
        Mention("date", start, end, op, day, unit="relative") for start, end, op, day in relative_dates(text, today)
    ]
    times = [
        Mention("factor", match.start(), match.end(), value=float(match[1]) / (100 if match[2] else 1))
        for match in re.finditer(r"(?<![\w.-])(\d+(?:\.\d+)?) ?(?:x|×|times|-?fold|((?:%|percent) of))(?!\w)", text)
    ]
    return found + dates + times + _numbers(text)


def _numbers(text: str) -> list[Mention]:
    found = []
    for match in _NUMBER.finditer(text):
        spelt = _SPELT.get(match["num"])
        value = (spelt or float(match["num"].replace(",", ""))) * _MAGNITUDE.get(match["mag"] or "", 1.0)
        value, unit = _measured(match, value)
        found.append(Mention("number", match.start(), match.end(), value=value, unit=unit))
        if match["plus"]:
            found[-1].attr = ">="
    return found


def _measured(match: re.Match[str], value: float) -> tuple[float, str]:
    """A number in our unit: USD per million tokens, USD per request (job), ms, tok/s, billions, tokens or %."""
    magnitude, unit, per = match["mag"], (match["unit"] or "").strip(), (match["per"] or "").replace(" ", "")
    cents = unit in ("cent", "cents", "ct", "¢")
    if match["cur"] or cents or unit in ("usd", "$") or "dollar" in unit or "buck" in unit:
        value *= 0.01 if cents else 1.0
        if re.fullmatch(r"request|query|call|job", per):
            return value, "job"
        thousand = re.fullmatch(r"1?k|(?:1|one)?thousand|1[,.]?000", per)
        side = f"$ {match['side']}put" if match["side"] else "$" if per else "$?"
        single = per == "token" or (match["side"] and not per)
        return value * (1e6 if single else 1e3 if thousand else 1.0), side
    if unit == "ms" or unit.startswith("milli"):
        return value, "ms"
    if re.fullmatch(r"s|secs?|seconds?", unit):
        return value * 1000, "ms"
    if "/" in unit or " per " in unit or unit == "tps":
        return value, "tok/s"
    if "tok" in unit:
        return value, "output tokens" if unit.startswith("output") else "tokens"
    if unit.startswith("param") or (magnitude in ("b", "bn", "billion") and not unit):
        return value / 1e9 if magnitude else value, "params"
    if unit in ("%", "percent"):
        return value, "%"
    return value, "tokens" if magnitude and not unit else ""
