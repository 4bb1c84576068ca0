"""Prescriptive plans: predict, explain, and find the smallest change that is worth making."""
