"""Prescriptive plans: predict, explain, and find the smallest change that is worth making."""

from __future__ import annotations

from rectitude.decisions.plans.prescriber import Prescriber

__all__ = ["Prescriber"]
