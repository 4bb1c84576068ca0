"""Which language model should answer: wishes as weighted clauses over a catalogue, solved and explained.

Source: *LLM Routing as Reasoning: A MaxSAT View* (arXiv 2603.13612): feedback induces hard and soft constraints over
attributes of models, and routing is weighted partial MaxSAT, or MaxSMT where attributes are unknown. Only the paper's
abstract and listing were readable to us: the clause language, the unknown policies, the weights and the definition of
"near-feasible" are ours.
"""
