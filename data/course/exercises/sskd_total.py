"""sskd_total: the weighted sum of the terms, worked through and as lines."""
# ruff: noqa: F811


# %% worked
def sskd_total(terms, weights):
    """Return the weighted sum of the terms. Both: dicts with the same names. Returns a scalar."""
    # 1. Begin with nothing.
    total = 0
    for name in terms:
        # 2. The name says which weight belongs to which term.
        part = weights[name] * terms[name]
        # 3. Add this part.
        total = total + part
    return total


# %% lines
def sskd_total(terms, weights):
    total = 0
    for name, term in terms.items():  # blank: terms.items()
        total = total + weights[name] * term  # blank: weights[name]
    return total
