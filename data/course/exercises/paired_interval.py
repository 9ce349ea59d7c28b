"""paired_interval: the interval of paired differences, worked through and as lines."""
# ruff: noqa: F811

from scipy import stats


# %% worked
def paired_interval(a, b):
    """Return (mean, half width) of the 95 % interval of the differences. a, b: accuracies [n]."""
    # 1. One difference per seed: what a seed adds to both drops out.
    differences = [float(a[i]) - float(b[i]) for i in range(len(a))]
    n = len(differences)
    mean = sum(differences) / n
    # 2. The standard deviation. One degree of freedom went into the mean.
    squares = [(d - mean) ** 2 for d in differences]
    deviation = (sum(squares) / (n - 1)) ** 0.5
    # 3. The standard error of the mean of n differences.
    error = deviation / n**0.5
    # 4. Student's t: 2.5 % lie above this quantile, and 2.5 % on the other side.
    t = float(stats.t.ppf(0.975, n - 1))
    return mean, t * error


# %% lines
def paired_interval(a, b):
    d = a - b
    n = len(d)
    error = d.std() / n**0.5  # blank: n**0.5
    t = stats.t.ppf(0.975, n - 1)  # blank: n - 1
    return d.mean(), t * error  # blank: t * error
