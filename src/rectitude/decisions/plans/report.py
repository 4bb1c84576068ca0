"""stub"""
def card(p): return "# card\n"
def cohort_page(p, plans): return "<html></html>"
